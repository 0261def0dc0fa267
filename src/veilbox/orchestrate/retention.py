"""What becomes of a source after its output is durable: it stays, goes, or stays encrypted.

A source goes only if it is still, under its own name, the very file that the job read: same inode, size, times and
digest, no link and no second name. Whatever is not so is kept, and said. Order, so that a kill at any moment leaves
either the source or what can be opened with its key:

    the release is durable; the source is read once more and its digest compared
    (encrypt) key, encrypted copy without a name, record of it, name beside the source, each on stable storage
    the source's name is removed, the folder synced; then the log is told
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from veilbox.core.errors import InputError, OutputError, UsageError, VeilboxError
from veilbox.core.job import Item
from veilbox.core.policy import Policy, Retention
from veilbox.orchestrate.interruption import uninterrupted
from veilbox.orchestrate.sealed_sources import SEALED_SUFFIX, SealedSource, SealedSources
from veilbox.orchestrate.staging import StagedOutput
from veilbox.vault.aes_gcm import encrypt_file

_CHUNK = 1 << 20


class Fate(StrEnum):
    """What became of a source; the last three although the policy wanted it gone."""

    KEPT = "kept"
    DELETED = "deleted"
    ENCRYPTED = "encrypted"
    CHANGED = "changed"
    LINKED = "linked"
    REFUSED = "refused"

    @property
    def wanted(self) -> bool:
        """Whether it is what the policy asked for."""
        return self in {Fate.KEPT, Fate.DELETED, Fate.ENCRYPTED}


class Recorder(Protocol):
    """The log's ear."""

    def deleted(self, what: str, digest: str, *, item: int | None = None) -> None:
        """Something was deleted."""

    def notice(self, code: str, *, item: int | None = None) -> None:
        """Something that must be on record."""


class _StaysError(Exception):
    """The source must not go."""

    def __init__(self, fate: Fate) -> None:
        super().__init__(fate)
        self.fate = fate


def check_sources(items: Iterable[Item], policy: Policy) -> None:
    """Refuse, before anything runs, sources that could not go.

    Raises:
        UsageError: A source is a link, has a second name, or is named twice, and the policy wants sources gone.
    """
    if policy.retention is Retention.KEEP:
        return
    seen: set[tuple[int, int]] = set()
    for item in items:
        with suppress(OSError):  # what is not there is found when it is opened
            status = item.source.lstat()
            identity = status.st_dev, status.st_ino
            fault = "is a link" if stat.S_ISLNK(status.st_mode) else ""
            fault = fault or ("has a second name (hard link)" if status.st_nlink > 1 else "")
            fault = fault or ("is named twice" if identity in seen else "")
            if fault:
                raise UsageError(
                    f"{fault}, so it cannot be removed",
                    where=item.name,
                    advice="Name the file itself, once, or keep sources",
                )
            seen.add(identity)


@dataclass(frozen=True, slots=True)
class _Identity:
    """Which file, in which state. The time of change (ctime) cannot be set back by who writes the file."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Identity:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class HeldSource:
    """A source as it was when it was opened: its folder stays open, so that nobody can put another in its place.

    Attributes:
        path: Absolute, for the encrypted copy and its record.
        folder: Descriptor of the folder, owned by this object.
    """

    path: Path
    folder: int
    identity: _Identity

    @classmethod
    def of(cls, path: Path, fd: int) -> HeldSource:
        """Hold a source.

        Args:
            path: Its path.
            fd: The descriptor that the job reads it through.

        Raises:
            OutputError: Its folder cannot be opened.
        """
        whole = path.absolute()
        try:
            folder = os.open(whole.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise OutputError(
                "a source here could not be removed", where=str(whole.parent), actual=os.strerror(error.errno or 0)
            ) from error
        return cls(whole, folder, _Identity.of(os.fstat(fd)))

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self.folder)

    def opened(self) -> BinaryIO:
        """The file that has the name now, if it is the one that was read."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(self.path.name, flags, dir_fd=self.folder)
        except OSError as error:
            raise _StaysError(Fate.CHANGED) from error
        file = cast("BinaryIO", os.fdopen(fd, "rb", buffering=0))
        try:
            self._check(os.fstat(fd))
        except BaseException:
            file.close()
            raise
        return file

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode) or _Identity.of(status) != self.identity:
            raise _StaysError(Fate.CHANGED)
        if status.st_nlink != 1:
            raise _StaysError(Fate.LINKED)

    def remove(self, file: BinaryIO) -> None:
        """Remove the name, and bring that to stable storage."""
        self._check(os.fstat(file.fileno()))
        self._check(os.stat(self.path.name, dir_fd=self.folder, follow_symlinks=False))
        os.unlink(self.path.name, dir_fd=self.folder)
        os.fsync(self.folder)


class _Hashed:
    """A file that is hashed while somebody reads it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._state = hashlib.sha256()

    def read(self, size: int = _CHUNK) -> bytes:
        data = self._file.read(size)
        self._state.update(data)
        return data

    def check(self, digest: str) -> None:
        """Raise unless everything was as the log says that it was."""
        if f"sha256:{self._state.hexdigest()}" != digest:
            raise _StaysError(Fate.CHANGED)


class SourceRetention:
    """Carries out what the policy says of sources.

    Args:
        retention: What it says.
        store: The store's root: keys and records of encrypted sources.
        job: The job's id.
        recorder: The log's ear.
    """

    def __init__(self, retention: Retention, store: Path, job: str, recorder: Recorder) -> None:
        self._retention = retention
        self._sealed = SealedSources(store)
        self._job = job
        self._recorder = recorder

    def hold(self, path: Path, fd: int) -> HeldSource | None:
        """Remember a source when it is opened; nothing where sources stay."""
        return None if self._retention is Retention.KEEP else HeldSource.of(path, fd)

    def settle(self, held: HeldSource | None, item: int, digest: str) -> Fate:
        """Carry it out for one source whose output is durable under its name; this never ends a job.

        Args:
            held: From `hold`.
            item: The item's number.
            digest: What was read, `sha256:...`.
        """
        if held is None:
            return Fate.KEPT
        try:
            with held.opened() as file:
                self._carry_out(held, file, item, digest)
        except _StaysError as stays:
            return self._stayed(item, stays.fate)
        except (OSError, VeilboxError):
            return self._stayed(item, Fate.REFUSED)
        return Fate.DELETED if self._retention is Retention.DELETE else Fate.ENCRYPTED

    def _stayed(self, item: int, fate: Fate) -> Fate:
        self._recorder.notice(f"source-stays-{fate}", item=item)
        return fate

    def _carry_out(self, held: HeldSource, file: BinaryIO, item: int, digest: str) -> None:
        sealed = None
        if self._retention is Retention.ENCRYPT:
            sealed = self._seal(held, file, item, digest)
        else:
            _read_all(file, digest)
        try:
            with uninterrupted():  # what is gone must also be told
                held.remove(file)
                self._recorder.deleted("source", digest, item=item)
                if sealed is not None:
                    self._recorder.notice("source-encrypted", item=item)
        except (OSError, _StaysError):
            if sealed is not None:
                self._sealed.forget(sealed)
            raise

    def _seal(self, held: HeldSource, file: BinaryIO, item: int, digest: str) -> SealedSource:
        """An encrypted copy beside the source."""
        source = _Hashed(file)
        path = held.path.with_name(held.path.name + SEALED_SUFFIX)
        with StagedOutput.create(path, replace=False) as staged:
            with os.fdopen(os.dup(staged.fd), "wb") as destination:
                encrypt_file(cast("BinaryIO", source), destination, self._sealed.key(self._job))
            source.check(digest)
            staged.sync()
            sealed = self._sealed.record(SealedSource(job=self._job, item=item, path=str(path), digest=digest))
            staged.release()
        return sealed


def _read_all(file: BinaryIO, digest: str) -> None:
    source = _Hashed(file)
    while source.read():
        pass
    source.check(digest)


def unkept(fates: Iterable[tuple[str, str]]) -> list[InputError]:
    """What to tell of sources that should have gone.

    Args:
        fates: Name and fate of each.
    """
    why = {
        Fate.CHANGED: "it is not the file any more that was read",
        Fate.LINKED: "it has a second name (hard link)",
        Fate.REFUSED: "the file system refused",
    }
    return [
        InputError("the source is still there", where=name, actual=why[Fate(fate)], advice="Look at it, then remove it")
        for name, fate in fates
        if not Fate(fate).wanted
    ]
