"""Encrypted sources: their keys, and where they lie, so that they can be purged by age.

<store>/keys/<job>-source.key       opens every source of that job
<store>/sources/<job>-<item>.json   where one lies and what it was
<source>.veilbox                    the encrypted source itself, beside where the source was
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from veilbox.core.errors import OutputError, SourceCorrupt, SourceMissing, VeilboxError
from veilbox.orchestrate.staging import StagedOutput, sync_folder
from veilbox.vault.aes_gcm import HEADER_BYTES, decrypt_file, id_in, key_id
from veilbox.vault.keys import KeyFolder

SEALED_SUFFIX = ".veilbox"


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedSource:
    """One encrypted source.

    Attributes:
        job: The job that encrypted it.
        item: Its number there.
        path: Where the encrypted file lies, absolute.
        digest: Of what was encrypted.
        key: Hexadecimal id of its key; filled in by `SealedSources.record`.
    """

    job: str
    item: int
    path: str
    digest: str
    key: str = ""


class SealedSources:
    """The records of a store.

    Args:
        store: Its root.
    """

    def __init__(self, store: Path) -> None:
        self._root = store / "sources"
        self._keys = KeyFolder.of(store)

    def key(self, job: str) -> bytes:
        """The key of a job's sources; made when it is first asked for."""
        return self._keys.create(_key_name(job))

    def record(self, sealed: SealedSource) -> SealedSource:
        """Keep a record, on stable storage before the encrypted file has its name.

        Raises:
            OutputError: It cannot be written.
        """
        whole = replace(sealed, key=key_id(self._keys.load(_key_name(sealed.job))).hex())
        path = self._path(whole)
        with _writing(path):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, msgspec.json.encode(whole))
                os.fsync(fd)
            finally:
                os.close(fd)
            temporary.replace(path)
            sync_folder(self._root)
        return whole

    def older_than(self, moment_s: float) -> list[SealedSource]:
        """Records made before a moment, the oldest first.

        Args:
            moment_s: Seconds since the epoch.
        """
        found = []
        for path in self._root.glob("[!.]*.json"):
            with suppress(OSError, msgspec.MsgspecError):
                made_s = path.lstat().st_mtime
                if made_s <= moment_s:
                    found.append((made_s, msgspec.json.decode(path.read_bytes(), type=SealedSource)))
        return [sealed for _, sealed in sorted(found, key=lambda one: (one[0], one[1].job, one[1].item))]

    def destroy_key(self, sealed: SealedSource) -> None:
        """Destroy the key of a source's job: nobody opens any of its sources any more."""
        self._keys.destroy(_key_name(sealed.job))

    def forget(self, sealed: SealedSource) -> None:
        """Remove the encrypted file and its record; a file that is not the one recorded stays.

        Raises:
            OutputError: They cannot be removed.
        """
        path, record = Path(sealed.path), self._path(sealed)
        with _writing(path):
            if _names_key(path, sealed.key):
                path.unlink(missing_ok=True)
            record.unlink(missing_ok=True)

    def _path(self, sealed: SealedSource) -> Path:
        return self._root / f"{sealed.job}-{sealed.item}.json"


def key_of(store: Path, file: Path) -> str:
    """The name of the key that opens an encrypted file.

    Raises:
        SourceMissing: The file cannot be read, or its key is not here.
        SourceCorrupt: It is no encrypted file.
    """
    with _reading(file) as source:
        return KeyFolder.of(store).named(_identity(source))


def open_sealed(
    store: Path,
    file: Path,
    output: Path,
    *,
    replace: bool = False,
    told: Callable[[str], object] = lambda _: None,
) -> None:
    """Write what an encrypted file holds: whole under its name, or nothing.

    Args:
        store: The store whose keys are tried.
        file: The encrypted file.
        output: Where its content goes.
        replace: Whether a file that has this name already is replaced.
        told: Called with the content's digest before it gets its name; what this raises keeps it from having one.

    Raises:
        SourceMissing: The file cannot be read, or its key is not here.
        SourceCorrupt: It is no encrypted file, or not as it was written.
        OutputError: The content cannot be written.
        UsageError: The output exists already.
    """
    with _reading(file) as source:
        key = KeyFolder.of(store).find(_identity(source))
        source.seek(0)
        _open_with(key, source, output, replace=replace, told=told)


def digest_of(store: Path, file: Path) -> str:
    """The digest of what an encrypted file holds, which nobody gets to see.

    Raises:
        SourceMissing: The file cannot be read, or its key is not here.
        SourceCorrupt: It is no encrypted file, or not as it was written.
    """
    sink = _HashSink()
    with _reading(file) as source:
        key = KeyFolder.of(store).find(_identity(source))
        source.seek(0)
        decrypt_file(source, cast("BinaryIO", sink), key)
    return sink.digest


class _HashSink:
    """A file that keeps nothing but a digest."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._state.update(data)
        return len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._state.hexdigest()}"


@contextmanager
def _reading(file: Path) -> Iterator[BinaryIO]:
    try:
        with file.open("rb") as source:
            yield source
    except SourceCorrupt as error:
        raise error.located(str(file)) from error
    except OSError as error:
        raise SourceMissing("cannot be read", where=str(file), actual=os.strerror(error.errno or 0)) from error


def _identity(source: BinaryIO) -> bytes:
    identity = id_in(source.read(HEADER_BYTES))
    if identity is None:
        raise SourceCorrupt("not a file that veilbox encrypted")
    return identity


def _open_with(key: bytes, source: BinaryIO, output: Path, *, replace: bool, told: Callable[[str], object]) -> None:
    with StagedOutput.create(output, replace=replace) as staged:
        with _writing(output), os.fdopen(os.dup(staged.fd), "wb") as destination:
            decrypt_file(source, destination, key)
        staged.sync()
        told(str(staged.digest()[0]))
        staged.release()


def _key_name(job: str) -> str:
    return f"{job}-source"


def _names_key(path: Path, key: str) -> bool:
    """Whether a file, and no link to one, was encrypted with the key of that id."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        named = id_in(os.read(fd, HEADER_BYTES))
    finally:
        os.close(fd)
    return named is not None and named.hex() == key


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except VeilboxError:
        raise
    except OSError as error:
        raise OutputError(
            "cannot keep or remove an encrypted source", where=str(path), actual=os.strerror(error.errno or 0)
        ) from error
