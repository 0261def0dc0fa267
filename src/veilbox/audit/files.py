"""The log's files as the log needs them: append, sync, cut, read. The room's only I/O."""

from __future__ import annotations

import errno
import os
from typing import Protocol


class File(Protocol):
    """An append-only file that can be cut at its end."""

    def size(self) -> int:
        """Its length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from an offset; fewer only at the end."""

    def append(self, data: bytes) -> None:
        """Write at the end, all of it.

        Raises:
            OSError: It is not known how much was written.
        """

    def sync(self) -> None:
        """Bring it to stable storage."""

    def cut(self, size: int) -> None:
        """Shorten it."""


class DescriptorFile:
    """A `File` behind a descriptor that was opened for reading and appending.

    Args:
        fd: Not owned: whoever opened it closes it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def size(self) -> int:
        """See `File`; so for the other methods."""
        return os.fstat(self._fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        """By position."""
        return os.pread(self._fd, length, offset)

    def append(self, data: bytes) -> None:
        """O_APPEND decides where."""
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            view = view[written:]

    def sync(self) -> None:
        """Data and length."""
        os.fsync(self._fd)

    def cut(self, size: int) -> None:
        """Not synced."""
        os.ftruncate(self._fd, size)
