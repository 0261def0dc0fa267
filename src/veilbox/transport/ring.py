"""The file of slots: one page of header, then slots that each begin on a page.

Only the producer has the file open for writing; its consumers mount the volume read-only and map it PROT_READ. The
header exists so that a reader can refuse a file that is not the ring that the messages spoke of; it is read once,
before the mapping, and nothing is taken from it that the messages did not say.

A producer can shrink the file under its readers; touching the lost pages is a bus error that no check can rule out.
`check` finds it before a frame is touched, and a component that dies of it ends the job without an output.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from veilbox.core.errors import MachineError, ProtocolError
from veilbox.transport.messages import LocalProtocolError

# The edge's volume. pathlib brings URLs and addresses along, for which no component has any use.
Folder = str | os.PathLike[str]

_MAGIC = b"veilring"
_VERSION = 1
_HEADER = struct.Struct("<8sIIIQ")
_PAGE = mmap.PAGESIZE
HEADER_BYTES = _PAGE
# Readable by others: a consumer runs under another user id, and only those that mount the volume see the file.
_MODE = 0o644
# A FIFO must not block the open, a link must not lead elsewhere.
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def stride(slot_bytes: int) -> int:
    """Bytes from one slot to the next: whole pages."""
    return -(-slot_bytes // _PAGE) * _PAGE


def file_bytes(slots: int, slot_bytes: int) -> int:
    """Size of the whole ring file."""
    return HEADER_BYTES + slots * stride(slot_bytes)


class Ring:
    """One mapped ring; made by `create` or `open`.

    Attributes:
        slots: Number of slots.
        slot_bytes: Usable bytes of a slot.
    """

    def __init__(self, fd: int, path: str, slots: int, slot_bytes: int, *, writable: bool) -> None:
        self.slots = slots
        self.slot_bytes = slot_bytes
        self._fd = fd
        self._path = path
        self._size = file_bytes(slots, slot_bytes)
        prot = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
        self._map = mmap.mmap(fd, self._size, flags=mmap.MAP_SHARED, prot=prot)
        self._view = memoryview(self._map)

    @classmethod
    def create(cls, directory: Folder, generation: int, slots: int, slot_bytes: int) -> Self:
        """Make the ring file of a generation and map it for writing.

        All memory is reserved here: a volume that is too small is an error now and not a bus error later.

        Args:
            directory: The edge's volume.
            generation: Names the file.
            slots: At least 1.
            slot_bytes: Bytes of the largest frame.

        Raises:
            MachineError: The file cannot be made or the volume has no room for it.
        """
        path = _path(directory, generation)
        size = file_bytes(slots, slot_bytes)
        with _machine(f"cannot make a ring of {slots} slots of {slot_bytes} bytes"):
            fd = os.open(path, _CREATE_FLAGS, _MODE)
            try:
                os.fchmod(fd, _MODE)  # whatever the umask is
                os.posix_fallocate(fd, 0, size)
                os.pwrite(fd, _HEADER.pack(_MAGIC, _VERSION, generation, slots, slot_bytes), 0)
                return cls(fd, path, slots, slot_bytes, writable=True)
            except BaseException:
                os.close(fd)
                os.unlink(path)  # noqa: PTH108 - see `Folder`
                raise

    @classmethod
    def open(cls, directory: Folder, generation: int, slots: int, slot_bytes: int) -> Self:
        """Map the ring that a producer announced, read-only.

        Args:
            directory: The edge's volume.
            generation: As announced, likewise the rest.
            slots: Checked against the header and the file's size.
            slot_bytes: Likewise.

        Raises:
            ProtocolError: The file is missing, no regular file, of another size or not the announced ring.
        """
        path = _path(directory, generation)
        with _peer("the announced ring cannot be opened"):
            fd = os.open(path, _READ_FLAGS)
        try:
            with _peer("the announced ring cannot be mapped"):
                _check_file(fd, file_bytes(slots, slot_bytes))
                _check_header(os.pread(fd, _HEADER.size, 0), (_MAGIC, _VERSION, generation, slots, slot_bytes))
                return cls(fd, path, slots, slot_bytes, writable=False)
        except BaseException:
            os.close(fd)
            raise

    def slot(self, index: int) -> memoryview:
        """The bytes of one slot.

        Returns:
            (slot_bytes,) unsigned bytes; writable if the ring was created here.

        Raises:
            ProtocolError: There is no such slot.
        """
        if not 0 <= index < self.slots:
            raise ProtocolError("the ring has no such slot", expected=f"0 to {self.slots - 1}", actual=str(index))
        offset = HEADER_BYTES + index * stride(self.slot_bytes)
        return self._view[offset : offset + self.slot_bytes]

    def check(self) -> None:
        """Look whether the file still has its size.

        Raises:
            ProtocolError: It was cut or has grown.
        """
        if self._fd < 0:
            raise LocalProtocolError("the ring is closed")
        _check_file(self._fd, self._size)

    def close(self) -> None:
        """Unmap the ring as soon as nobody holds a slot's bytes; a second call does nothing."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        self._view.release()
        try:
            self._map.close()
        except BufferError:
            # Somebody still holds bytes of a slot; the mapping ends when they let go.
            return

    def unlink(self) -> None:
        """Remove the file's name; mappings live on."""
        with _machine("the ring cannot be removed"), suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108 - see `Folder`

    def retire(self) -> None:
        """For the producer, when every slot is free: give the memory back at once, remove the file, unmap.

        Consumers map the old file until they see the next Start; cutting it spares the volume from holding both.
        """
        self.unlink()
        with _machine("the ring cannot be cut"):
            os.ftruncate(self._fd, 0)
        self.close()


def _path(directory: Folder, generation: int) -> str:
    return os.path.join(directory, f"ring-{generation}")  # noqa: PTH118 - see `Folder`


def _check_file(fd: int, size: int) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise ProtocolError("the ring is no regular file", actual=f"{stat.filemode(status.st_mode)}")
    if status.st_size != size:
        raise ProtocolError("the ring file has the wrong size", expected=f"{size} bytes", actual=str(status.st_size))


def _check_header(header: bytes, announced: tuple[bytes, int, int, int, int]) -> None:
    found = _HEADER.unpack(header) if len(header) == _HEADER.size else ()
    if found != announced:
        raise ProtocolError("the ring file is not the announced ring", expected=str(announced), actual=str(found))


@contextmanager
def _peer(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise ProtocolError(what, expected="the producer's ring file", actual=_words(error)) from error


@contextmanager
def _machine(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise MachineError(
            what, actual=_words(error), advice="Give the ring's volume more memory or use fewer slots"
        ) from error


def _words(error: Exception) -> str:
    # An OSError's text names a path; the words of its errno do not.
    return (error.strerror or "") if isinstance(error, OSError) else str(error)
