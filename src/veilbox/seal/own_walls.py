"""What a component takes from itself by its first instructions, before any thread is made.

It needs no right and no runtime, so it holds in containers of any engine, in Kubernetes and in bare processes alike,
and it adds to whatever walls are there. Imported are the standard library and `veilbox.core` only: a library that
makes a thread on import would leave that thread outside.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Mapping, Sequence
from contextlib import suppress

from veilbox.core.errors import MachineError
from veilbox.core.frozen import frozen
from veilbox.seal.allowlist import syscalls
from veilbox.seal.landlock import restrict
from veilbox.seal.second_filter import tighten

# linux/prctl.h
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 4, 38, 39

_STANDARD_STREAMS = 3
# Open files as in the plan; no core file, locked memory, message queue, real time or raised priority for anybody.
_LIMITS: Mapping[str, int] = {
    "RLIMIT_CORE": 0,
    "RLIMIT_NOFILE": 1024,
    "RLIMIT_MEMLOCK": 0,
    "RLIMIT_MSGQUEUE": 0,
    "RLIMIT_RTPRIO": 0,
    "RLIMIT_NICE": 0,
}


@frozen(kw_only=False)
class Laid:
    """What a process laid around itself.

    Attributes:
        landlock: The kernel's ABI; 0 where it has none.
        filtered: Whether the second filter is in force.
        allowed: The list that the filter was made of.
    """

    landlock: int
    filtered: bool
    allowed: tuple[str, ...]


_laid: Laid | None = None


def laid() -> Laid | None:
    """What `lay_own_walls` laid in this process; None if it was not called."""
    return _laid


def lay_own_walls(
    component: str,
    *,
    readable: Sequence[str] = ("/",),
    writable: Sequence[str] = (),
    limits: Mapping[str, int] | None = None,
) -> None:
    """Close what was inherited, bound this process, and give up programs, networks and all but reading some files.

    In this order: descriptors beyond the standard streams closed, rlimits, dumpable off, no-new-privileges, Landlock
    with every right that the kernel's ABI knows, the component's allow-list of system calls as a second filter. Nothing
    takes them off again. With dumpable off only somebody with CAP_SYS_PTRACE over this process's user namespace can
    look at /proc/PID/{ns,fd,io,maps,environ}; `status` stays readable for all.

    Args:
        component: Whose allow-list; see `veilbox.seal.allowlist.syscalls`.
        readable: Files and folders that stay readable; in a container its whole root, in a bare process what the
            interpreter and the libraries need.
        writable: Folders in which regular files can still be made, written and removed.
        limits: Further `RLIMIT_*`, soft and hard; none is ever raised.

    Raises:
        UsageError: No allow-list is kept for such a component.
        MachineError: The kernel has such a wall and refused it.
    """
    global _laid  # noqa: PLW0603 - a process has one set of walls
    allowed = syscalls(component)
    _close_inherited()
    for name, value in {**_LIMITS, **(limits or {})}.items():
        _bound(name, value)
    _prctl(_PR_SET_DUMPABLE, 0)
    _no_new_privileges()
    _laid = Laid(restrict(readable=readable, writable=writable), tighten(allowed), allowed)


def _close_inherited() -> None:
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - no import that can be spared
    except OSError:
        numbers = list(range(_STANDARD_STREAMS, _LIMITS["RLIMIT_NOFILE"]))
    for number in numbers:
        if number >= _STANDARD_STREAMS:
            with suppress(OSError):  # the listing's own
                os.close(number)


def _bound(name: str, value: int) -> None:
    kind = getattr(resource, name, None)
    if kind is None:
        return
    hard = resource.getrlimit(kind)[1]
    lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # gVisor lets nobody set limits that its kernel does not have. Core files, where it would matter, are a finding.
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (lowered, lowered))


def _no_new_privileges() -> None:
    libc = ctypes.CDLL(None)
    # A runtime has set it, and its filter may refuse to set it again.
    libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0)
    if libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        raise MachineError("no-new-privileges was refused")


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0):
        raise MachineError("prctl refused", expected=f"option {option}", actual=os.strerror(ctypes.get_errno()))
