"""A layer becomes a folder, once, and only if every byte and every entry is what it must be.

The tar is foreign input. It is read into a private folder that gets its content-addressed name when the last byte is
verified; within it nothing is ever written through a link, because a parent must be a folder that this very layer
made. Source: OCI image-spec 1.1.1, layer.md; umoci's and containerd's histories of escapes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.compression import Compression, InflatedTar
from veilbox.oci.image.layer import SOURCE_DATE_EPOCH, inner_link
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.image.tar import Entry, Kind, TarReader

_NAME_MAX = 255  # bytes; every Linux file system's

UNFINISHED = ".unpacking-"

# layer.md, "Whiteouts" and "Opaque Whiteout".
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"

# What only makes a name look like another one: Unicode's marks that turn the direction of writing.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# A file system's answers to names that it cannot tell apart or cannot have.
_NAME_REFUSED = frozenset({errno.EEXIST, errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR})


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What a layer may at most hold; ours have some 5,000 entries, 150 MB and 12 levels.

    Attributes:
        entries: Files, folders and links.
        bytes: Of all files together, and of the tar.
        path_bytes: Of one path (Linux's own PATH_MAX).
        depth: Folders within folders; deeper trees exhaust the programs that remove them.
    """

    entries: int = 100_000
    bytes: int = 4 << 30
    path_bytes: int = 4096
    depth: int = 64


@dataclass(kw_only=True, slots=True)
class Deletions:
    """What a layer takes away from the layers below it; its own entries are never meant.

    Attributes:
        paths: Files, links and whole folders.
        opaque: Folders of which nothing is left; the root is the empty string.
    """

    paths: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.paths or self.opaque)


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
        DeletingLayer: It takes files away from layers below it, so it is no folder on its own.
        ImageError: The blob, the tar or an entry is not what it must be; nothing is left behind.
    """
    target = layer_path(layers, diff_id)
    if target.is_dir():
        return target
    with unfinished(layers) as root:
        if extract_blob(layout, descriptor, diff_id, root, bounds):
            raise DeletingLayer("layer deletes files of others (whiteout)", where=diff_id.text, advice=_SQUASH)
        publish(root, target)
    return target


_SQUASH = "Unpack the image as a whole"


class DeletingLayer(ImageError):
    """A layer that is nothing without those below it."""


@contextmanager
def unfinished(layers: Path) -> Iterator[Path]:
    """A private folder among the unpacked layers, with an empty one in it for `publish`; gone afterwards.

    Yields:
        The inner folder.
    """
    _make_public(layers)
    _make_public(layers / "sha256")
    private = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=layers / "sha256"))
    try:
        with held_folder(private):
            root = private / "root"
            root.mkdir()
            yield root
    finally:
        shutil.rmtree(private, ignore_errors=True)


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


def extract_blob(layout: Layout, descriptor: Descriptor, diff_id: Digest, root: Path, bounds: Bounds) -> Deletions:
    """Extract a layer's blob into an empty folder and hold it to both of its digests.

    Returns:
        What it takes away from layers below it.

    Raises:
        ImageError: The blob, the tar or an entry is not what it must be; the folder's content means nothing then.
    """
    compression = Compression.of(descriptor.media_type)
    deletions = Deletions()
    with layout.open(descriptor) as blob:
        tar = InflatedTar(blob, compression, bounds.bytes)
        Extractor(root, bounds, deletions=deletions).extract(tar.read_exactly)
        actual = tar.finish()
        blob.drain()
    if actual != diff_id:
        raise ImageError("layer is not the one of the image configuration", expected=str(diff_id), actual=str(actual))
    return deletions


def publish(root: Path, target: Path) -> None:
    """Give a finished folder its final name."""
    _make_public(target.parent)
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
    """Makes the entries of tars in a fresh folder.

    Attributes:
        root: The folder, empty and nobody else's.
        bounds: What the tars may at most hold.
        place: Where an entry of that name goes, or None to leave it out. Names are checked before and after.
        relink: Gives a symbolic link's target its final text, from its own name and the text in the tar.
        deletions: Takes what the tar takes away from layers below; None refuses that.
    """

    root: Path
    bounds: Bounds = field(default_factory=Bounds)
    place: Callable[[str], str | None] = unchanged
    relink: Callable[[str, str], str] = inner_link
    deletions: Deletions | None = None
    _folders: set[str] = field(default_factory=lambda: {""})
    _files: set[str] = field(default_factory=set)
    _links: set[str] = field(default_factory=set)
    _alike: dict[str, str] = field(default_factory=dict)
    _bytes: int = 0
    _entries: int = 0

    def extract(self, read: Callable[[int], bytes]) -> None:
        """Read a tar to its end.

        Args:
            read: Gives exactly so many bytes, fewer only at the end.

        Raises:
            ImageError: It is damaged, or has an entry that may not be.
        """
        tar = TarReader(read, path_bytes=self.bounds.path_bytes)
        for entry in tar:
            with _names_are_the_layer_s(entry.name):
                self._entry(tar, entry)

    def _entry(self, tar: TarReader, entry: Entry) -> None:
        self._count(entry)
        placed = self.place(self._checked(entry.name))
        if placed is None:
            return
        _check_kind(entry)
        name = self._checked(placed)
        if self._deleted(name, entry):
            return
        if entry.kind is Kind.FOLDER:
            self._folder(name)
            return
        self._new(name)
        if entry.kind is Kind.SYMLINK:
            (self.root / name).symlink_to(self.relink(name, entry.link))
            self._links.add(name)
        elif entry.kind is Kind.HARD_LINK:
            self._hard_link(name, entry.link)
        else:
            self._file(tar, entry, name)

    def _checked(self, name: str) -> str:
        checked = checked_name(name, self.bounds.path_bytes)
        if checked.count("/") >= self.bounds.depth:
            raise ImageError("layer entry is too deep", where=name, expected=f"at most {self.bounds.depth} levels")
        return checked

    def _count(self, entry: Entry) -> None:
        self._entries += 1
        self._bytes += entry.size
        if self._entries > self.bounds.entries or self._bytes > self.bounds.bytes:
            raise ImageError("layer holds too much", where=entry.name, expected=str(self.bounds))

    def _deleted(self, name: str, entry: Entry) -> bool:
        """Note a whiteout; whether the entry was one."""
        parent, _, last = name.rpartition("/")
        if not any(part.startswith(_WHITEOUT) for part in name.split("/")):
            return False
        meant = last.removeprefix(_WHITEOUT)
        below = f"/{_WHITEOUT}" in f"/{parent}"
        if self.deletions is None or below or entry.kind is not Kind.FILE or entry.size:
            raise ImageError("layer deletes files of others (whiteout) where it may not", where=name)
        if last == _OPAQUE:
            self.deletions.opaque.add(parent)
        elif meant in {"", ".", ".."} or meant.startswith(_WHITEOUT):
            raise ImageError("layer deletes what has no name", where=name)
        else:
            self.deletions.paths.add(f"{parent}/{meant}" if parent else meant)
        return True

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
        other = self._alike.setdefault(_folded(name), name)
        if other != name:
            raise ImageError("layer holds two names that file systems may take for one", where=name, actual=other)

    def _file(self, tar: TarReader, entry: Entry, name: str) -> None:
        path = self.root / name
        with path.open("xb") as file:
            for chunk in tar.content():
                file.write(chunk)
            os.fchmod(file.fileno(), 0o755 if entry.mode & 0o100 else 0o644)
        os.utime(path, (SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH))  # a tar's own time may be beyond what a time can be
        self._files.add(name)

    def _hard_link(self, name: str, target: str) -> None:
        placed = self.place(self._checked(target))
        if placed not in self._files:
            raise ImageError("hard link to what this layer does not hold", where=name, actual=target)
        os.link(self.root / placed, self.root / name)
        self._files.add(name)


@contextmanager
def _names_are_the_layer_s(name: str) -> Iterator[None]:
    """A name that this file system cannot have, or cannot tell from another, is the layer's fault."""
    try:
        yield
    except OSError as error:
        if error.errno in _NAME_REFUSED:
            raise ImageError(
                "layer entry cannot be made on this file system", where=name, actual=str(error.strerror)
            ) from error
        raise


def _check_kind(entry: Entry) -> None:
    if entry.kind is Kind.SPECIAL:
        raise ImageError("layer holds a device or pipe", where=entry.name)
    if entry.mode & 0o7000 and entry.kind is not Kind.SYMLINK:
        raise ImageError("layer holds a set-user-id, set-group-id or sticky entry", where=entry.name)


def _folded(name: str) -> str:
    """What names have in common that a file system without case, or with Unicode's forms, takes for one."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFKC", name.casefold()).casefold()


def checked_name(name: str, path_bytes: int) -> str:
    """An entry's path, relative and without detours; the root itself is the empty string.

    Raises:
        ImageError: It is absolute, climbs, is overlong, or has characters that hide what it is.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    sizes = [len(os.fsencode(part)) for part in parts]
    if name.startswith("/") or ".." in parts or sum(sizes) + len(sizes) > path_bytes:
        raise ImageError("layer entry leaves the image or has an impossible name", where=name)
    if max(sizes, default=0) > _NAME_MAX:
        raise ImageError("layer entry leaves the image or has an impossible name", where=name)
    if any(unicodedata.category(character) == "Cc" or character in _TURNING for character in name):
        raise ImageError("layer entry has control characters in its name", where=name)
    return "/".join(parts)
