"""Keys of jobs: one file each, so that destroying a key destroys everything that it sealed.

    <store>/keys/<name>.key     32 random bytes, mode 0600, in a folder of mode 0700

A name says job and purpose (`5f0b83b0-source`, `5f0b83b0-quarantine`): what one purpose destroys, another keeps.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from veilbox.core.errors import OutputError, SourceMissing, UsageError
from veilbox.vault.aes_gcm import KEY_BYTES, key_id

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_SUFFIX = ".key"


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """The keys of a store.

    Attributes:
        root: The folder; made when the first key is.
    """

    root: Path

    @classmethod
    def of(cls, store: Path) -> KeyFolder:
        """The keys of the store at a path."""
        return cls(store / "keys")

    def create(self, name: str) -> bytes:
        """Make a key, on stable storage before anything is sealed with it.

        Returns:
            The key; the one that is there if the name has one already.

        Raises:
            OutputError: It cannot be written.
            UsageError: The name is not one.
        """
        path = self._path(name)
        with _writing(path):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = self.root / f".{name}.{secrets.token_hex(8)}"
            try:
                _write_new(temporary, secrets.token_bytes(KEY_BYTES))
                os.link(temporary, path, follow_symlinks=False)
            except FileExistsError:
                pass  # of several makers the first wins, and all get its key
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(self.root)
        return self.load(name)

    def load(self, name: str) -> bytes:
        """A key by its name.

        Raises:
            SourceMissing: There is none, or not any more.
            UsageError: The name is not one.
        """
        return self._read(self._path(name))

    def destroy(self, name: str) -> bool:
        """Destroy a key: what it sealed cannot be opened by anybody any more.

        The file is overwritten before it is unlinked. Flash memory, snapshots and backups may hold older blocks: keep
        the store on an encrypted disk where that matters.

        Returns:
            Whether there was one.

        Raises:
            OutputError: It cannot be removed.
            UsageError: The name is not one.
        """
        path = self._path(name)
        with _writing(path):
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return False
            try:
                os.pwrite(fd, bytes(KEY_BYTES), 0)
                os.fsync(fd)
            finally:
                os.close(fd)
            path.unlink(missing_ok=True)
            _sync_folder(self.root)
        return True

    def names(self) -> list[str]:
        """The names of all keys, sorted."""
        return sorted(path.name.removesuffix(_SUFFIX) for path in self.root.glob(f"[!.]*{_SUFFIX}"))

    def made_s(self, name: str) -> float:
        """When a key was made, in seconds since the epoch.

        Raises:
            SourceMissing: There is none.
        """
        path = self._path(name)
        try:
            return path.lstat().st_mtime
        except OSError as error:
            raise _missing(path) from error

    def find(self, identity: bytes) -> bytes:
        """The key that a sealed file names.

        Args:
            identity: As `aes_gcm.id_in` read it from the file.

        Raises:
            SourceMissing: No key here has that id: it was destroyed, or is on another machine.
        """
        return self.load(self.named(identity))

    def named(self, identity: bytes) -> str:
        """Likewise the key's name, which says job and purpose."""
        for name in self.names():
            with contextlib.suppress(SourceMissing):  # one that was half destroyed, or meanwhile
                if key_id(self.load(name)) == identity:
                    return name
        raise SourceMissing(
            "no key of this machine opens the file",
            where=str(self.root),
            expected=f"key id {identity.hex()}",
            advice="Its key was destroyed by `veilbox purge`, or is in another machine's store",
        )

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise UsageError("not a name of a key", where=name, expected="letters, digits and hyphens, at most 64")
        return self.root / f"{name}{_SUFFIX}"

    def _read(self, path: Path) -> bytes:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise _missing(path) from error
        try:
            key = os.read(fd, KEY_BYTES + 1)
        finally:
            os.close(fd)
        if len(key) != KEY_BYTES or not any(key):
            raise SourceMissing("a key that is destroyed or damaged", where=str(path))
        return key


def _missing(path: Path) -> SourceMissing:
    return SourceMissing(
        "no such key", where=str(path), advice="What it sealed cannot be opened any more, unless a backup has the key"
    )


def _write_new(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            "cannot write a key", where=str(path), actual=os.strerror(error.errno or 0), advice="Free some space"
        ) from error
