"""What an attempt is, and the kernel's answer as words. Runs inside a component: standard library only."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

ALLOWED = "allowed"
# A filter, a missing right or a security module; a read-only mount; nothing there.
REFUSED = frozenset({"EPERM", "EACCES", "ENOSYS"})
READ_ONLY = REFUSED | {"EROFS"}
ABSENT = READ_ONLY | {"ENOENT", "ENXIO", "ENOTDIR", "ENODEV"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the attacker was handed, and what it shall try to reach.

    Attributes:
        canary: A file on the host that everybody there may read.
        tcp_port: The host listens there on its loopback address.
        abstract: Name of an abstract Unix socket on the host.
        own: Folders of its own rings.
        foreign: Folders where the pod's other rings would be.
        edges: Descriptors of its edges.
        item: Descriptor of a source, an output or a log; None before it has one.
    """

    canary: str = "/nonexistent"
    tcp_port: int = 0
    abstract: str = "none"
    own: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    edges: tuple[int, ...] = ()
    item: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt.

    Attributes:
        id: Its name, unique in the suite.
        group: What it is about.
        what: What is tried, as a person would say it.
        refused: The answers with which the wall stood; any other is an escape or a leak.
        run: Tries it; every answer that came, or none where there is nothing to try it on.
    """

    id: str
    group: str
    what: str
    refused: frozenset[str]
    run: Callable[[Ground], Iterable[str]]


def word(attempt: Callable[[], object]) -> str:
    """`allowed`, or the name of the errno."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except PermissionError:
        return "EPERM"
    return ALLOWED


def opened(path: str, flags: int, *, folder: int | None = None) -> str:
    """The answer to opening a file, which is closed at once."""
    quiet = flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    return word(lambda: os.close(os.open(path, quiet, 0o600, dir_fd=folder)))


libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
MACHINES = ("x86_64", "aarch64")


def system_call(numbers: tuple[int, int], *arguments: int) -> int:
    """Make a call by its number on x86_64 or aarch64; -1 for a call that the machine does not have.

    Raises:
        OSError: The kernel's answer.
    """
    number = numbers[MACHINES.index(os.uname().machine)]
    if number < 0:
        raise OSError(errno.ENOSYS, "no such call here")
    answer = int(libc.syscall(*(ctypes.c_long(value) for value in (number, *arguments, *[0] * (6 - len(arguments))))))
    if answer < 0:
        raise OSError(ctypes.get_errno(), "system call")
    return answer
