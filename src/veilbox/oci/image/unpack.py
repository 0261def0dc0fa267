"""A layer becomes a folder, once, and only if every byte and every entry is what it must be.

The tar is foreign input. It is read into a private folder that gets its content-addressed name when the last byte is
verified; within it nothing is ever written through a link, because a parent must be a folder that this very layer
made. Source: OCI image-spec 1.1.1, layer.md; umoci's and containerd's histories of escapes.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.layer import SOURCE_DATE_EPOCH, inner_link
from veilbox.oci.image.layout import Layout, VerifiedReader
from veilbox.oci.image.spec import LAYER_TYPE, Descriptor

_CHUNK = 1 << 20
_NAME_MAX = 255  # bytes; every Linux file system's
_GZIP = zlib.MAX_WBITS | 16


# POSIX.1-2017, pax: ustar typeflags 0, 1, 2 and 5; no other is needed for files of a program.
_KINDS = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE})

UNFINISHED = ".unpacking-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What a layer may at most hold; ours have some 5,000 entries and 150 MB.

    Attributes:
        entries: Files, folders and links.
        bytes: Of all files together, and of the tar.
        path_bytes: Of one path (Linux's own PATH_MAX).
    """

    entries: int = 100_000
    bytes: int = 4 << 30
    path_bytes: int = 4096


class _Inflated(io.RawIOBase):
    """The tar inside a gzipped blob; counts and hashes it, refuses what follows the one gzip member."""

    def __init__(self, blob: VerifiedReader, limit: int) -> None:
        self._blob = blob
        self._limit = limit
        self._inflate = zlib.decompressobj(_GZIP)
        self._hash = hashlib.sha256()
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._next(len(buffer))
        buffer[: len(chunk)] = chunk
        self._hash.update(chunk)
        self._count += len(chunk)
        if self._count > self._limit:
            raise ImageError("layer is too large when unpacked", expected=f"at most {self._limit} bytes")
        return len(chunk)

    def _next(self, wanted: int) -> bytes:
        while not self._inflate.eof:
            fed = self._inflate.unconsumed_tail or self._blob.read(_CHUNK) or b""
            try:
                chunk = self._inflate.decompress(fed, wanted)
            except zlib.error as error:
                raise ImageError("layer is not gzip", actual=str(error)) from error
            if chunk:
                return chunk
            if not fed and not self._inflate.eof:
                raise ImageError("layer ends inside its gzip stream")
        if self._inflate.unused_data or self._blob.read(1):
            raise ImageError("layer has bytes after its gzip stream")
        return b""

    def finish(self) -> Digest:
        while self.read(_CHUNK):
            pass
        self._blob.drain()
        return Digest(f"sha256:{self._hash.hexdigest()}")


def unpack_layer(layout: Layout, descriptor: Descriptor, diff_id: Digest, layers: Path, bounds: Bounds) -> Path:
    """Unpack a layer unless it is there already.

    Args:
        layout: Where its blob is.
        descriptor: The blob.
        diff_id: The digest of the tar in it, from the image configuration.
        layers: The folder of unpacked layers; this one becomes `layers/sha256/<diff_id>`.
        bounds: What it may at most hold.

    Returns:
        The layer's folder: readable by everybody (folders 0755, files 0644 or 0755), because containers run as users
        that own nothing.

    Raises:
        ImageError: The blob, the tar or an entry is not what it must be; nothing is left behind.
    """
    target = layer_path(layers, diff_id)
    if target.is_dir():
        return target
    if descriptor.media_type != LAYER_TYPE:
        raise ImageError("unknown kind of layer", expected=LAYER_TYPE, actual=descriptor.media_type)
    _make_public(layers)
    _make_public(target.parent)
    private = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=target.parent))
    try:
        with held_folder(private):
            root = private / "root"
            root.mkdir()
            with layout.open(descriptor) as blob:
                _verify(diff_id, _extract_blob(blob, root, bounds))
            _publish(root, target)
    finally:
        shutil.rmtree(private, ignore_errors=True)
    return target


@contextmanager
def held_folder(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Lock a folder for as long as the block or the process lives, so that a sweep sees that its maker does.

    Args:
        folder: It.
        wait: Whether to wait for another holder.

    Raises:
        BlockingIOError: Another holds it, and waiting is not wanted.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _make_public(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # whatever the umask: containers' users own nothing here


def layer_path(layers: Path, diff_id: Digest) -> Path:
    """Where a layer is when it is unpacked."""
    return layers / "sha256" / diff_id.hex


def _extract_blob(blob: VerifiedReader, root: Path, bounds: Bounds) -> Digest:
    tar = _Inflated(blob, bounds.bytes)
    Extractor(root, bounds).extract(io.BufferedReader(tar, _CHUNK))
    return tar.finish()


def _verify(expected: Digest, actual: Digest) -> None:
    if actual != expected:
        raise ImageError("layer is not the one of the image configuration", expected=str(expected), actual=str(actual))


def _publish(root: Path, target: Path) -> None:
    root.chmod(0o755)
    os.utime(root, (SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH))
    os.sync()  # a folder that a power cut emptied must not stand under the name that promises its content
    with suppress(FileExistsError):  # a parallel unpacker was faster; its folder has the same content
        try:
            root.rename(target)
        except OSError:
            if not target.is_dir():
                raise


def unchanged(name: str) -> str | None:
    """Keep every entry where it is."""
    return name


@dataclass
class Extractor:
    """Makes the entries of one tar in a fresh folder.

    Attributes:
        root: The folder, empty and nobody else's.
        bounds: What the tar may at most hold.
        place: Where an entry of that name goes, or None to leave it out. Names are checked before and after.
        relink: Gives a symbolic link's target its final text, from its own name and the text in the tar.
    """

    root: Path
    bounds: Bounds = field(default_factory=Bounds)
    place: Callable[[str], str | None] = unchanged
    relink: Callable[[str, str], str] = inner_link
    _folders: set[str] = field(default_factory=lambda: {""})
    _files: set[str] = field(default_factory=set)
    _links: set[str] = field(default_factory=set)
    _bytes: int = 0
    _entries: int = 0

    def extract(self, stream: IO[bytes] | io.BufferedReader) -> None:
        """Read a tar to its end-of-archive mark.

        Raises:
            ImageError: It is damaged, or has an entry that may not be.
        """
        try:
            with tarfile.open(fileobj=stream, mode="r|", errors="strict", encoding="utf-8") as tar:
                for info in tar:
                    self._entry(tar, info)
        except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
            raise ImageError("layer is not a sound tar", actual=str(error)) from error

    def _entry(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        self._count(info)
        placed = self.place(checked_name(info.name, self.bounds.path_bytes))
        if placed is None:
            return
        _check_kind(info)
        name = checked_name(placed, self.bounds.path_bytes)
        if info.isdir():
            self._folder(name)
            return
        self._new(name)
        if info.issym():
            (self.root / name).symlink_to(self.relink(name, info.linkname))
            self._links.add(name)
        elif info.islnk():
            self._hard_link(name, info.linkname)
        else:
            self._file(tar, info, name)

    def _count(self, info: tarfile.TarInfo) -> None:
        self._entries += 1
        self._bytes += info.size
        if info.size < 0:
            raise ImageError("layer entry of negative size", where=info.name)
        if self._entries > self.bounds.entries or self._bytes > self.bounds.bytes:
            raise ImageError("layer holds too much", where=info.name, expected=str(self.bounds))

    def _folder(self, name: str) -> None:
        if name in self._folders:
            return
        self._new(name)
        path = self.root / name
        path.mkdir(mode=0o755)
        path.chmod(0o755)
        self._folders.add(name)

    def _new(self, name: str) -> None:
        if name in self._folders or name in self._files or name in self._links:
            raise ImageError("layer holds an entry twice", where=name)
        parent = name.rpartition("/")[0]
        if parent in self._files or parent in self._links:
            raise ImageError("layer writes through a link or file", where=name)
        if parent not in self._folders:
            self._folder(parent)

    def _file(self, tar: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> None:
        content = tar.extractfile(info)
        if content is None:  # neither regular nor a link: excluded in _count
            raise ImageError("layer entry without content", where=name)
        path = self.root / name
        with path.open("xb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
            os.fchmod(file.fileno(), 0o755 if info.mode & 0o100 else 0o644)
        os.utime(path, (SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH))  # a tar's own time may be beyond what a time can be
        self._files.add(name)

    def _hard_link(self, name: str, target: str) -> None:
        placed = self.place(checked_name(target, self.bounds.path_bytes))
        if placed not in self._files:
            raise ImageError("hard link to what this layer does not hold", where=name, actual=target)
        os.link(self.root / placed, self.root / name)
        self._files.add(name)


def _check_kind(info: tarfile.TarInfo) -> None:
    if info.type not in _KINDS or info.issparse():
        raise ImageError("layer holds a device, pipe or unknown entry", where=info.name, actual=repr(info.type))
    if info.mode & 0o7000 and not info.issym():
        raise ImageError("layer holds a set-user-id, set-group-id or sticky entry", where=info.name)
    if any(key.startswith(("SCHILY.xattr.", "LIBARCHIVE.xattr.", "GNU.")) for key in info.pax_headers):
        raise ImageError("layer holds extended attributes", where=info.name)


def checked_name(name: str, path_bytes: int) -> str:
    """An entry's path, relative and without detours; the root itself is the empty string.

    Raises:
        ImageError: It is absolute, climbs, is overlong, or is a whiteout (layers of ours only ever add).
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    sizes = [len(os.fsencode(part)) for part in parts]
    if name.startswith("/") or ".." in parts or "\0" in name or sum(sizes) + len(sizes) > path_bytes:
        raise ImageError("layer entry leaves the image or has an impossible name", where=name)
    if max(sizes, default=0) > _NAME_MAX:
        raise ImageError("layer entry leaves the image or has an impossible name", where=name)
    if any(part.startswith(".wh.") for part in parts):
        raise ImageError("layer deletes files of others (whiteout)", where=name, advice="Build images with veilbox")
    return "/".join(parts)
