"""Logs in memory and on disk, and files that fail when they are told to."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from veilbox.audit.checkpoint import verifier_key
from veilbox.audit.files import DescriptorFile
from veilbox.audit.log import Log, LogFiles
from veilbox.audit.signing import SigningKey
from veilbox.audit_verifier.note import PublicKey

KEY = SigningKey("veilbox/audit/test", bytes(range(32)))
PUBLIC = PublicKey.parse(verifier_key(KEY.name, KEY.public))
NAMES = ("entries", "tree", "checkpoints")
SEGMENT = f"{0:020d}.jsonl"


def line(number: int) -> bytes:
    """An entry of about a hundred bytes."""
    return b'{"bytes":%d,"digest":"sha256:%064x","item":%d,"type":"x"}' % (number * 977, number * 7919, number)


class Killed(BaseException):
    """The process ends here; nothing of it runs any more."""


class Disk:
    """What is left of three files when the process is killed, or the disk fails, after so many bytes or calls.

    Args:
        content: What the files hold at the beginning.
        bytes_left: Bytes that can be written; None for no bound.
        calls_left: Calls that change something and succeed; None for no bound.
        error: What happens then.
    """

    def __init__(
        self,
        content: dict[str, bytes] | None = None,
        *,
        bytes_left: int | None = None,
        calls_left: int | None = None,
        error: type[BaseException] = Killed,
    ) -> None:
        self.content = {name: bytearray((content or {}).get(name, b"")) for name in NAMES}
        self.synced = {name: bytes(data) for name, data in self.content.items()}
        self.bytes_left = bytes_left
        self.calls_left = calls_left
        self.error = error

    def now(self) -> dict[str, bytes]:
        """What a process that is started now would read."""
        return {name: bytes(data) for name, data in self.content.items()}

    def files(self, first: int = 0) -> LogFiles:
        """The files as a log takes them."""
        entries, tree, checkpoints = (MemoryFile(self, name) for name in NAMES)
        return LogFiles(entries=entries, tree=tree, checkpoints=checkpoints, first=first)

    def call(self) -> None:
        """Count a call that changes something."""
        if self.calls_left is not None:
            if not self.calls_left:
                raise self.failure()
            self.calls_left -= 1

    def failure(self) -> BaseException:
        """What happens when the bound is reached."""
        return OSError(errno.ENOSPC, "No space left on device") if self.error is OSError else self.error()


class MemoryFile:
    """One file of a disk; see `veilbox.audit.files.File`."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self._name = name

    @property
    def _data(self) -> bytearray:
        return self._disk.content[self._name]

    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._data[offset : offset + length])

    def append(self, data: bytes) -> None:
        self._disk.call()
        left = self._disk.bytes_left
        if left is not None and left < len(data):
            self._data.extend(data[:left])
            self._disk.bytes_left = 0
            raise self._disk.failure()
        if left is not None:
            self._disk.bytes_left = left - len(data)
        self._data.extend(data)

    def sync(self) -> None:
        self._disk.call()
        self._disk.synced[self._name] = bytes(self._data)

    def cut(self, size: int) -> None:
        self._disk.call()
        del self._data[size:]


def log_on(disk: Disk, first: int = 0) -> Log:
    """The log of a disk's files."""
    return Log(disk.files(first), KEY)


def open_files(root: Path, segment: str = SEGMENT) -> tuple[LogFiles, list[int]]:
    """A log's files in a folder, and the descriptors that the caller closes."""
    (root / "entries").mkdir(parents=True, exist_ok=True)
    paths = (root / "entries" / segment, root / "tree", root / "checkpoints")
    fds = [os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600) for path in paths]
    entries, tree, checkpoints = (DescriptorFile(fd) for fd in fds)
    first = int(segment.partition(".")[0])
    return LogFiles(entries=entries, tree=tree, checkpoints=checkpoints, first=first), fds


def write_log(root: Path, count: int, *, batch: int = 1) -> None:
    """A log on disk."""
    files, fds = open_files(root)
    log = Log(files, KEY)
    for start in range(0, count, batch):
        log.append([line(number) for number in range(start, min(start + batch, count))])
    for fd in fds:
        os.close(fd)
