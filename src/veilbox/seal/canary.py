"""Canaries: things on the host that a sealed component must not reach."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from veilbox.core.control import Canaries
from veilbox.seal.kernel import boot_id, kernel

# Nobody ever accepts: a connection that gets into the queue has already told the probe what it wanted to know.
_BACKLOG = 128
_PREFIX = "veilbox-canary-"


@contextmanager
def planted(directory: Path | None = None) -> Iterator[Canaries]:
    """Put canaries on the host for the time of the block.

    The file is readable for everybody, so that only a wall can hide it. It is locked as long as this process lives, so
    that `remove_forgotten` knows it from one whose process was killed. No volumes are named; give each component its
    own with `dataclasses.replace`.

    Args:
        directory: Where the file goes, readable for everybody; the system's folder for temporary files if None.

    Yields:
        The canaries' addresses.

    Raises:
        OSError: The machine has no loopback interface, or the folder cannot be written.
    """
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        tcp.bind(("127.0.0.1", 0))
        tcp.listen(_BACKLOG)
        name = f"{_PREFIX}{secrets.token_hex(8)}"
        unix = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        unix.bind(f"\0{name}")
        unix.listen(_BACKLOG)
        path = stack.enter_context(_file(directory))
        yield Canaries(
            path=path,
            tcp_port=tcp.getsockname()[1],
            abstract_socket=name,
            kernel=kernel(),
            boot_id=boot_id(),
        )


@contextmanager
def _file(directory: Path | None) -> Iterator[str]:
    descriptor, path = _locked_file(directory)
    try:
        os.write(descriptor, b"A sealed component cannot read this.\n")
        os.fchmod(descriptor, 0o644)
        yield path
    finally:
        Path(path).unlink(missing_ok=True)  # who cleans that folder may have come first
        os.close(descriptor)


def _locked_file(directory: Path | None) -> tuple[int, str]:
    while True:
        descriptor, path = tempfile.mkstemp(prefix=_PREFIX, dir=directory)
        if _taken(descriptor):
            return descriptor, path
        os.close(descriptor)  # somebody met it before its lock and removes it as forgotten


def remove_forgotten(directory: Path | None = None) -> None:
    """Remove the files of this user's processes that were killed while their canaries were planted.

    Args:
        directory: As for `planted`.
    """
    with suppress(OSError), os.scandir(directory or tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX):
                with suppress(OSError):
                    _remove_if_forgotten(entry.path)


def _remove_if_forgotten(path: str) -> None:
    # Anybody may put anything there under such a name.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and _taken(descriptor):
            Path(path).unlink()
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    """Whether we hold the lock of a file that still has its name."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0
