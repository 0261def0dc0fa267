"""Outputs appear complete under their final name, or not at all.

A staged output is a file without a name (`O_TMPFILE`) on the file system of its destination: nobody finds it, and the
kernel frees it when its last descriptor closes, also when the supervisor is killed. Where a file system has no unnamed
files, a hidden `.veilbox-*.partial` takes its place and is removed on every path that the supervisor survives.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from veilbox.core.digest import Digest
from veilbox.core.errors import OutputError, ProtocolError, UsageError

# What open(2) says where O_TMPFILE is not known: EOPNOTSUPP of a file system, EISDIR and EINVAL of old kernels.
_NO_UNNAMED_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
_MODE = 0o644
_READ_BYTES = 1 << 20
# From this size on, and this often, an output's pages leave memory: short films stay for who reads them next, and at
# eight megabits a second as many bytes are made in two seconds.
_LARGE_BYTES, _EASE_S = 16 << 20, 2.0


@dataclass(kw_only=True, slots=True)
class StagedOutput:
    """One output on its way: open for writing, without its final name.

    Attributes:
        path: The final name.
        fd: Writable descriptor, owned by this object.
        replace: Whether a file that has the final name already is replaced.
    """

    path: Path
    fd: int
    replace: bool
    partial: Path | None = field(default=None)
    _eased_s: float = field(default=0.0)

    @classmethod
    def create(cls, path: Path, *, replace: bool) -> Self:
        """Stage an output for a final name.

        Folders on the way to the name are made at release, not now.

        Raises:
            OutputError: The folder cannot be written.
            UsageError: Something has the name already and `replace` is false.
        """
        check_free(path, replace=replace)
        folder = _nearest_folder(path.parent)
        try:
            return cls(path=path, fd=_unnamed(folder), replace=replace)
        except OSError as error:
            if error.errno not in _NO_UNNAMED_FILES:
                raise _refused(path, error) from error
        partial = folder / f".veilbox-{secrets.token_hex(8)}.partial"
        try:
            fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refused(path, error) from error
        return cls(path=path, fd=fd, replace=replace, partial=partial)

    def freeze(self, *, writer: str = "export") -> None:
        """Trade the writable descriptor for a read-only one and have the kernel confirm that nobody can write.

        A read lease is granted only while no descriptor or mapping of the file is writable (fcntl(2), F_SETLEASE),
        so a component that kept the output open is found here, before the digest is taken.

        Args:
            writer: Who wrote it, for the error.

        Raises:
            ProtocolError: Somebody still holds the output open for writing.
        """
        frozen = os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)
        os.close(self.fd)
        self.fd = frozen
        try:
            fcntl.fcntl(frozen, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise ProtocolError(
                    "the output is still open for writing", where=writer, expected="closed before it is done"
                ) from error
            raise OutputError(
                "the file system cannot confirm that the output is closed",
                where=str(self.path),
                actual=os.strerror(error.errno or 0),
                advice="Choose a folder on a local file system",
            ) from error
        fcntl.fcntl(frozen, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    def ease(self, now_s: float) -> None:
        """Let the kernel write out what a long output has in memory, and drop what is written.

        Pages of a file count as the memory of who wrote or read them first: without this the pod would hold a film's
        whole output, whatever its length. Safe to call often.

        Args:
            now_s: Of a clock that does not go back.
        """
        if self.fd < 0 or now_s - self._eased_s < _EASE_S:
            return
        self._eased_s = now_s
        with contextlib.suppress(OSError):  # advice; where the file system takes none, memory is all that is lost
            if os.fstat(self.fd).st_size >= _LARGE_BYTES:
                os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def digest(self) -> tuple[Digest, int]:
        """The digest and size in bytes of what was written."""
        state = hashlib.sha256()
        size = 0
        while chunk := os.pread(self.fd, _READ_BYTES, size):
            state.update(chunk)
            size += len(chunk)
        return Digest(f"sha256:{state.hexdigest()}"), size

    def sync(self) -> None:
        """Bring the content to stable storage, before the audit entry that vouches for it."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise _refused(self.path, error) from error

    def release(self) -> None:
        """Give the output its final name, atomically.

        Raises:
            OutputError: The name cannot be given; nothing appears.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.fchmod(self.fd, _MODE & ~_umask())
            self._name()
            sync_folder(self.path.parent)
        except OSError as error:
            raise _refused(self.path, error) from error
        finally:
            self.discard()

    def _name(self) -> None:
        if not self.replace:
            self._link(self.path)
            return
        # linkat(2) cannot replace: a second, hidden name is renamed over the first.
        temporary = self.path.parent / f".veilbox-{secrets.token_hex(8)}.partial"
        self._link(temporary)
        try:
            temporary.replace(self.path)
        except OSError:
            temporary.unlink()
            raise

    def _link(self, name: Path) -> None:
        if self.partial is not None:
            os.link(self.partial, name)
            return
        # Python calls linkat, and with it follows the /proc link, only if it is given a folder descriptor; with an
        # absolute path the kernel ignores which.
        os.link(f"/proc/self/fd/{self.fd}", name, src_dir_fd=self.fd, follow_symlinks=True)

    def discard(self) -> None:
        """Close the descriptor and leave nothing of a partial file; safe to call twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self.partial is not None:
            self.partial.unlink(missing_ok=True)
            self.partial = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def check_free(path: Path, *, replace: bool) -> None:
    """Refuse a final name that is taken.

    Raises:
        UsageError: Something has the name and `replace` is false, or it is a folder.
    """
    if path.is_dir():
        raise UsageError("is a folder", where=str(path), expected="a file name")
    if not replace and os.path.lexists(path):
        raise UsageError("exists already", where=str(path), advice="Choose another name or give --overwrite")


def largest_output(paths: Iterable[Path]) -> int | None:
    """The largest file that any of these outputs may be: what is free on its disk now, less a twentieth for others.

    Returns:
        Bytes, the least of all disks; None where there are no outputs, or the disk does not tell.
    """
    folders = {_nearest_folder(path.parent) for path in paths}
    try:
        return min((shutil.disk_usage(folder).free * 19 // 20 for folder in folders), default=None)
    except OSError:
        return None


def _nearest_folder(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _unnamed(folder: Path) -> int:
    return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _umask() -> int:
    # Reading the mask without setting it: os.umask would race with other threads.
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 - a kernel file
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o077


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to stable storage.

    Raises:
        OSError: The file system refused.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refused(path: Path, error: OSError) -> OutputError:
    advice = {
        errno.ENOSPC: "Free some space and run again",
        errno.EDQUOT: "Free some of your quota and run again",
        errno.EROFS: "Choose a folder on a writable file system",
        errno.EACCES: "Choose a folder that you may write to",
        errno.ENOENT: "Create the folder first",
        errno.ENOTDIR: "Choose a path whose parents are folders",
    }.get(error.errno or 0, "")
    return OutputError("cannot write the output", where=str(path), actual=os.strerror(error.errno or 0), advice=advice)
