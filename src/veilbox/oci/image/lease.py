"""Who uses what in the store: leases that keep content from being collected, and end with their holder.

A lease is a file of digests under a lock of the kernel's. The lock is free exactly when its holder is dead, so a crash
leaves nothing that would keep content for ever. Looking for content and leasing it happens under a shared lock that
the collector takes alone: what was found cannot vanish before it is leased.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, MachineError

_SUFFIX = ".lease"


class Lease:
    """What one process uses.

    Args:
        root: The store's folder.
        file: The lease's file, locked.
    """

    def __init__(self, root: Path, file: IO[bytes]) -> None:
        self._root = root
        self._file = file

    def add(self, digests: Iterable[Digest]) -> None:
        """Keep content: blobs, or unpacked layers by the digest of their tar. Look afterwards whether it is there."""
        with uncollected(self._root):
            self.add_found(digests)

    def add_found(self, digests: Iterable[Digest]) -> None:
        """The same for who holds `uncollected` since it looked."""
        self._file.write("".join(f"{digest}\n" for digest in digests).encode("ascii"))
        self._file.flush()


@contextmanager
def uncollected(root: Path) -> Iterator[None]:
    """While this block runs nothing is collected; for looking and leasing, and for short writes. Nests."""
    with _guard(root, fcntl.LOCK_SH):
        yield


@contextmanager
def collecting(root: Path) -> Iterator[None]:
    """The collector's side of `uncollected`: alone."""
    with _guard(root, fcntl.LOCK_EX):
        yield


@contextmanager
def lease(root: Path) -> Iterator[Lease]:
    """Hold an empty lease until the block or the process ends.

    Raises:
        MachineError: It cannot be written.
    """
    folder = root / "leases"
    path = folder / f"{secrets.token_hex(8)}{_SUFFIX}"
    with uncollected(root):
        file = _opened(path)
    try:
        yield Lease(root, file)
    finally:
        path.unlink(missing_ok=True)
        file.close()


def leased(root: Path) -> frozenset[Digest]:
    """What living processes use; what dead ones left is removed. For who holds `collecting`."""
    found: set[Digest] = set()
    for path in (root / "leases").glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found |= _digests(file.read())
            else:
                path.unlink()
    return frozenset(found)


def _digests(raw: bytes) -> set[Digest]:
    digests: set[Digest] = set()
    for line in raw.decode("ascii", "replace").splitlines():
        with suppress(ImageError):
            digests.add(Digest(line))
    return digests


def _opened(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except OSError as error:
        raise MachineError(
            "cannot note which images are in use",
            where=str(path.parent),
            actual=error.strerror or "",
            advice="Set VEILBOX_HOME to a folder that you may write",
        ) from error
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


@contextmanager
def _guard(root: Path, kind: int) -> Iterator[None]:
    try:
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(root / ".guard", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise MachineError(
            "image store cannot be locked",
            where=str(root),
            actual=error.strerror or "",
            advice="Set VEILBOX_HOME to a folder that you may write",
        ) from error
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
