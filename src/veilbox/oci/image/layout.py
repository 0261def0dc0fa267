"""An OCI image layout on disk: a content-addressed store of blobs and one index.

Source: OCI image-spec 1.1.1, image-layout.md. Bytes are hashed and counted while they pass, in both directions; a
blob appears under its digest by one rename when it is complete, so a crash leaves nothing that looks whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.spec import INDEX_TYPE, REF_NAME, SUBJECT, Descriptor
from veilbox.oci.image.wire import MAX_JSON_BYTES, canonical, descriptor_document, parse_index

_CHUNK = 1 << 20
_REBUILD = "Rebuild it with `veilbox image build`"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file that is made if need be; other processes that want it wait.

    The kernel drops the lock when its holder dies, so no crash can leave it behind.
    """
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def durable_rename(source: Path, target: Path) -> None:
    """Rename within one file system and make the new name survive a power cut."""
    source.rename(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class VerifiedReader(io.RawIOBase):
    """Reads a blob and holds it to its descriptor: one byte too many, too few or flipped is an error.

    Only after the end was read (`drain` does it) is the content verified; until then a caller must not give what it
    made of it a final name.

    Args:
        file: Where the bytes come from; owned by the reader.
        descriptor: What they must be.
    """

    def __init__(self, file: IO[bytes], descriptor: Descriptor) -> None:
        self._file = file
        self._descriptor = descriptor
        self._hash = hashlib.sha256()
        self._count = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer`; 0 at the end, which is when the digest is compared.

        Raises:
            ImageError: The bytes are not what the descriptor says.
        """
        chunk = self._file.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self._hash.update(chunk)
        self._count += len(chunk)
        if self._count > self._descriptor.size or (not chunk and self._count < self._descriptor.size):
            raise self._wrong("size", str(self._descriptor.size), str(self._count))
        if not chunk and self._hash.hexdigest() != self._descriptor.digest.hex:
            raise self._wrong("content", self._descriptor.digest.text, f"sha256:{self._hash.hexdigest()}")
        return len(chunk)

    def drain(self) -> None:
        """Read what is left, so that the whole blob is verified."""
        while self.read(_CHUNK):
            pass

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()

    def _wrong(self, what: str, expected: str, actual: str) -> ImageError:
        return ImageError(
            f"blob has the wrong {what}", where=str(self._file.name), expected=expected, actual=actual, advice=_REBUILD
        )


class BlobWriter:
    """Hashes and counts what is written to a new blob; `Layout.incoming` gives it its name.

    Args:
        file: The unfinished blob.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, chunk: bytes) -> int:
        """Append bytes."""
        self._hash.update(chunk)
        self._size += len(chunk)
        return self._file.write(chunk)

    def recount(self, limit: int) -> None:
        """Hash what the file holds already, so that writing goes on behind it; more than `limit` bytes are dropped.

        The file must be open for reading too.
        """
        while self._size < limit and (chunk := self._file.read(min(_CHUNK, limit - self._size))):
            self._hash.update(chunk)
            self._size += len(chunk)
        self._file.truncate(self._size)
        self._file.seek(self._size)

    @property
    def digest(self) -> Digest:
        """Of all that was written so far."""
        return Digest(f"sha256:{self._hash.hexdigest()}")

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size


class _Finished(BlobWriter):
    """A blob that somebody else completed: it counts as written, and nothing is left to write."""

    def __init__(self, file: IO[bytes], descriptor: Descriptor) -> None:
        super().__init__(file)
        self._descriptor = descriptor

    @property
    def digest(self) -> Digest:
        """What it is."""
        return self._descriptor.digest

    @property
    def size(self) -> int:
        """Its whole size."""
        return self._descriptor.size


class Layout:
    """An image layout in a folder.

    Args:
        root: The folder; made, with what a layout must have, by the first write.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = root / "blobs" / "sha256"
        self._incoming = root / ".incoming"

    @property
    def root(self) -> Path:
        """The folder, for tools that read layouts."""
        return self._root

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob of that digest and size is there; its content is verified when it is read."""
        try:
            return self._path(descriptor.digest).stat().st_size == descriptor.size
        except FileNotFoundError:
            return False

    def held(self, digest: Digest, media_type: str) -> Descriptor | None:
        """Describe a blob that is here, as something of that type, or None; its content is verified when it is read."""
        try:
            size = self._path(digest).stat().st_size
        except FileNotFoundError:
            return None
        return Descriptor(media_type=media_type, digest=digest, size=size)

    def write(self, content: bytes, media_type: str) -> Descriptor:
        """Store bytes and describe them."""
        with self.incoming() as blob:
            blob.write(content)
        return Descriptor(media_type=media_type, digest=blob.digest, size=blob.size)

    @contextmanager
    def incoming(self) -> Iterator[BlobWriter]:
        """Write a blob of unknown digest; it is in the layout when the block ends without an error."""
        self._prepare()
        with _held_new(self._incoming) as file:
            unfinished = Path(file.name)
            try:
                blob = BlobWriter(file)
                yield blob
                self._finish(file, blob.digest)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise

    @contextmanager
    def receiving(self, descriptor: Descriptor) -> Iterator[BlobWriter]:
        """Write a blob of known digest, from where an earlier attempt broke off; it is in the layout at the end.

        Others who receive the same blob wait for this one's end. What was written stays for the next attempt when the
        block ends with an error, unless the bytes are wrong.

        Args:
            descriptor: What the bytes must be.

        Yields:
            A writer whose `size` is where to go on; the whole size if somebody else finished the blob meanwhile.

        Raises:
            ImageError: The bytes are not what the descriptor says; they are thrown away.
        """
        self._prepare()
        path = self._incoming / f"{descriptor.digest.hex}.part"
        with _held_open(path) as file:
            if self.has(descriptor):  # whoever held the lock before us finished it
                path.unlink(missing_ok=True)
                yield _Finished(file, descriptor)
                return
            blob = BlobWriter(file)
            blob.recount(descriptor.size)
            yield blob
            try:
                _compare(blob, descriptor)
            except ImageError:
                path.unlink(missing_ok=True)
                raise
            self._finish(file, descriptor.digest)

    def _finish(self, file: IO[bytes], digest: Digest) -> None:
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
        durable_rename(Path(file.name), self._path(digest))

    def open(self, descriptor: Descriptor) -> VerifiedReader:
        """Open a blob for verified reading.

        Raises:
            ImageError: It is not there.
        """
        path = self._path(descriptor.digest)
        try:
            return VerifiedReader(path.open("rb"), descriptor)
        except FileNotFoundError as error:
            raise ImageError("blob is missing", where=str(path), advice=_REBUILD) from error

    def read(self, descriptor: Descriptor) -> bytes:
        """A small blob (manifest or configuration), verified.

        Raises:
            ImageError: It is not there, not what the descriptor says, or larger than 4 MiB.
        """
        if descriptor.size > MAX_JSON_BYTES:
            raise ImageError("document is too large", where=descriptor.digest.text, actual=f"{descriptor.size} bytes")
        with self.open(descriptor) as reader:
            content = reader.read()
            reader.drain()
        return content

    def index(self) -> tuple[Descriptor, ...]:
        """What `index.json` lists; nothing if there is no layout yet.

        Raises:
            ImageError: The index is unreadable.
        """
        try:
            raw = (self._root / "index.json").read_bytes()
        except FileNotFoundError:
            return ()
        return parse_index(raw)

    def resolve(self, name: str) -> Descriptor | None:
        """The manifest that the index has under a name, or None.

        Raises:
            ImageError: The index is unreadable or has the name twice, which leaves no telling which is meant.
        """
        found = [one for one in self.index() if one.annotations.get(REF_NAME) == name]
        if len(found) > 1:
            raise ImageError("image name is ambiguous", where=name, actual=f"{len(found)} manifests", advice=_REBUILD)
        return found[0] if found else None

    def tag(self, name: str, manifest: Descriptor) -> None:
        """Let the index have `manifest` under `name`; every other entry, understood or not, stays as it is."""
        self._prepare()
        named = {**descriptor_document(manifest), "annotations": {**manifest.annotations, REF_NAME: name}}
        with locked(self._root / ".lock"):
            index = self._index_document()
            others = [one for one in index["manifests"] if _notes(one).get(REF_NAME) != name]
            index["manifests"] = sorted([*others, named], key=canonical)
            self._replace("index.json", canonical(index))

    def attach(self, referrer: Descriptor, subject: Digest) -> None:
        """List a manifest that speaks of another: an SBOM, a bundle. Listing it again changes nothing.

        Args:
            referrer: It; its bytes name the subject too.
            subject: The digest of what it speaks of.
        """
        self._prepare()
        entry = {**descriptor_document(referrer), "annotations": {**referrer.annotations, SUBJECT: subject.text}}
        with locked(self._root / ".lock"):
            index = self._index_document()
            others = [
                one for one in index["manifests"] if one["digest"] != referrer.digest.text or REF_NAME in _notes(one)
            ]
            index["manifests"] = sorted([*others, entry], key=canonical)
            self._replace("index.json", canonical(index))

    def detach(self, entries: Container[Digest]) -> None:
        """Take referrers off the index; named entries stay, and so do the blobs until they are collected."""
        with locked(self._root / ".lock"):
            index = self._index_document()
            kept = [
                one for one in index["manifests"] if REF_NAME in _notes(one) or Digest(one["digest"]) not in entries
            ]
            index["manifests"] = kept
            self._replace("index.json", canonical(index))

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """What the index lists as speaking of a manifest; each one's own `subject` is for the reader to check.

        Raises:
            ImageError: The index is unreadable.
        """
        return tuple(one for one in self.index() if one.annotations.get(SUBJECT) == subject.text)

    def forget(self, name: str) -> bool:
        """Take a name off the index; its content stays until it is collected.

        Returns:
            Whether the index had it.
        """
        self._prepare()
        with locked(self._root / ".lock"):
            index = self._index_document()
            kept = [one for one in index["manifests"] if _notes(one).get(REF_NAME) != name]
            found = len(kept) != len(index["manifests"])
            if found:
                index["manifests"] = kept
                self._replace("index.json", canonical(index))
        return found

    def blobs(self) -> Iterator[tuple[Digest, int]]:
        """Every blob with its size in bytes, in no order."""
        with suppress(FileNotFoundError):
            for entry in os.scandir(self._blobs):
                with suppress(ImageError, FileNotFoundError):  # no blob's name, or collected meanwhile
                    yield Digest(f"sha256:{entry.name}"), entry.stat().st_size

    def remove(self, digest: Digest) -> None:
        """Remove a blob; only for who knows that nobody needs it (`garbage`)."""
        self._path(digest).unlink(missing_ok=True)

    def sweep(self, *, resumable: bool = False) -> None:
        """Remove what killed writers left unfinished; what is being written is locked and stays.

        Args:
            resumable: Also what another attempt could go on with.
        """
        for left in self._incoming.glob("*"):
            if resumable or left.suffix != ".part":
                _remove_unheld(left)

    def _index_document(self) -> dict[str, Any]:
        try:
            raw = (self._root / "index.json").read_bytes()
        except FileNotFoundError:
            return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}
        parse_index(raw)
        document: dict[str, Any] = msgspec.json.decode(raw)
        return document

    def _prepare(self) -> None:
        for folder in (self._blobs, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)
        if not (self._root / "oci-layout").exists():
            self._replace("oci-layout", canonical({"imageLayoutVersion": "1.0.0"}))

    def _replace(self, name: str, content: bytes) -> None:
        with _held_new(self._incoming) as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
            durable_rename(Path(file.name), self._root / name)  # while it is held

    def _path(self, digest: Digest) -> Path:
        return self._blobs / digest.hex


def _hold(file: IO[bytes]) -> None:
    """Lock an unfinished file for as long as it is open, so that a sweep sees that its writer lives."""
    fcntl.flock(file, fcntl.LOCK_EX)


@contextmanager
def _held_new(folder: Path) -> Iterator[IO[bytes]]:
    """A new file that a sweep leaves alone; whoever gives it no other name removes it."""
    while True:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            _hold(file)
            if _still_named(file, Path(file.name)):  # a sweep may have come between its making and its lock
                yield file
                return


@contextmanager
def _held_open(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading and appending, alone; made if need be."""
    while True:
        with path.open("a+b") as file:
            _hold(file)
            if _still_named(file, path):
                file.seek(0)
                yield file
                return


def _still_named(file: IO[bytes], path: Path) -> bool:
    """Whether a file has its name still: whoever held it before may have renamed or removed it."""
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _remove_unheld(path: Path) -> None:
    with suppress(FileNotFoundError), path.open("rb") as file, suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _compare(blob: BlobWriter, descriptor: Descriptor) -> None:
    for what, expected, actual in (
        ("size", str(descriptor.size), str(blob.size)),
        ("content", descriptor.digest.text, blob.digest.text),
    ):
        if expected != actual:
            raise ImageError(f"blob has the wrong {what}", expected=expected, actual=actual, advice="Fetch it again")


def _notes(entry: dict[str, Any]) -> dict[str, str]:
    notes: dict[str, str] = entry.get("annotations", {})
    return notes
