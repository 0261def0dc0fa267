"""An attempt and the kernel's answer, as one word."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

# The word for an attempt that the kernel let pass.
ALLOWED = "allowed"

# Answers of a filter or a security module. Any other errno means that the call reached the kernel's own code.
REFUSALS = frozenset({"EPERM", "EACCES", "ENOSYS"})


def errno_name(number: int | None) -> str:
    """`ENOENT` for 2; the number as text where the platform has no name for it."""
    return errno.errorcode.get(number or 0, str(number))


def outcome(attempt: Callable[[], object]) -> str:
    """Make the attempt and say how it went: `ALLOWED`, or the name of the errno."""
    try:
        attempt()
    except OSError as error:
        return errno_name(error.errno)
    return ALLOWED


def opening(path: str, flags: int) -> str:
    """The outcome of opening a file and closing it again; it never blocks and never becomes a terminal's owner.

    Args:
        path: Absolute path.
        flags: `os.O_*`, beside which O_CLOEXEC, O_NONBLOCK and O_NOCTTY are always set.
    """
    return outcome(lambda: os.close(os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o600)))


def creating(directory: str) -> str:
    """The outcome of making a file in a directory; a file that could be made is removed at once."""
    path = f"{directory.rstrip('/')}/.veilbox-probe-{os.getpid()}"
    answer = opening(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    if answer == ALLOWED:
        os.unlink(path)  # noqa: PTH108 - pathlib is an import that the probe can do without
    return answer
