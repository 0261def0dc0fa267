"""Files that two containers have open at once: devices, libraries of a layer, rings. Each could carry a word across.

Locks lie on the file itself, and who asks is told their ranges: one container's choice of bytes is another's reading.
Places of a mapped file are one place to the kernel, in whatever process, so that who wakes counts who waits there.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial

from hostile.attempt import REFUSED, Attempt, Ground, libc, system_call, word

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_PAGE = 4096
_LOCK = "hhqqi4x"  # struct flock of 64 bits
# F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW: locks that no process id hides from other namespaces.
_ASK, _SET, _SET_AND_WAIT = 36, 37, 38
_FUTEX = (202, 98)
# FUTEX_WAKE, FUTEX_WAKE_OP, FUTEX_WAKE_BITSET, none of them private.
_WAKE = (1, 5, 10)


def _open(ground: Ground) -> Iterator[int]:
    """What others may have open too, one after the other."""
    rings = (f"{folder}/{name}" for folder in ground.own for name in os.listdir(folder))
    for path in (*_DEVICES, os.__file__, *rings):
        with suppress(OSError):
            number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield number
            finally:
                os.close(number)
    yield from (0, *ground.edges)
    if ground.item is not None:
        yield ground.item


def _locked(ground: Ground) -> Iterable[str]:
    """Bytes 1000 to 1004 for reading, which needs no right to write, and given back at once."""
    answers = set()
    for number in _open(ground):
        for command in (fcntl.F_SETLK, _SET, _SET_AND_WAIT):
            for kind in (fcntl.F_RDLCK, fcntl.F_UNLCK):
                answers.add(word(_command(number, command, struct.pack(_LOCK, kind, os.SEEK_SET, 1000, 5, 0))))
    return answers


def _asked(ground: Ground) -> Iterable[str]:
    question = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    return {word(_command(n, command, question)) for n in _open(ground) for command in (fcntl.F_GETLK, _ASK)}


def _command(number: int, command: int, argument: bytes) -> Callable[[], object]:
    return partial(fcntl.fcntl, number, command, argument)


def _listed(_: Ground) -> Iterable[str]:
    try:
        with open("/proc/locks", encoding="ascii") as file:
            return ["listed" if file.read(1) else "none"]
    except OSError:
        return ["none"]


def _woken(_: Ground) -> Iterable[str]:
    with open(os.__file__, "rb") as library:
        libc.mmap.restype = ctypes.c_void_p
        place = libc.mmap(None, ctypes.c_size_t(_PAGE), mmap.PROT_READ, mmap.MAP_SHARED, library.fileno(), 0)
    if place is None or place == ctypes.c_void_p(-1).value:
        return ["not mapped"]
    return {word(partial(system_call, _FUTEX, place, operation, 1, 0, place, 0)) for operation in _WAKE}


def _at(name: str, what: str, refused: frozenset[str], run: Callable[[Ground], Iterable[str]]) -> Attempt:
    return Attempt(id=name, group="shared files", what=what, refused=refused, run=run)


ATTEMPTS = (
    _at("lock-a-shared-file", "lock a chosen range of every device, library, ring and socket for reading", REFUSED,
        _locked),
    _at("ask-for-locks", "ask of each of them who has locked which range", REFUSED, _asked),
    _at("list-locks", "list the locks of the whole machine", frozenset({"none"}), _listed),
    _at("wake-through-a-library", "wake and count who waits, in other containers, at a place of a library", REFUSED,
        _woken),
)  # fmt: skip
