"""One file for the way into an air gap: a tar of an OCI image layout with images, what speaks of them, and notes.

Source: OCI image-spec 1.1.1, image-layout.md; other tools read the file as `oci-archive:`. The same images give the
same bytes. A tar that comes back is foreign input: nothing in it gets a name in the store before it was verified.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, OutputError, UsageError
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.lease import Lease
from veilbox.oci.image.links import referrer_entry, walk
from veilbox.oci.image.spec import INDEX_TYPE, REF_NAME, SUBJECT, Descriptor
from veilbox.oci.image.wire import MAX_JSON_BYTES, canonical, descriptor_document, parse_index
from veilbox.oci.registry.transfer import Document

_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})", re.ASCII)
_NOTE = re.compile(r"veilbox/([a-z0-9][a-z0-9._-]{0,63})", re.ASCII)
_CHUNK = 1 << 20

# A whole set of images has some hundred blobs; documents are read into memory, notes too.
_MAX_ENTRIES = 100_000
_MAX_NOTES = 64


def save(
    layout: Layout,
    images: Mapping[str, Descriptor],
    documents: Sequence[Document],
    notes: Mapping[str, bytes],
    path: Path,
) -> int:
    """Write an archive; it appears under its name when it is complete.

    Args:
        layout: Where the content is.
        images: The images by name.
        documents: What `transfer.plan` found for them, each once.
        notes: Small files for the other side (`veilbox/NAME` in the tar): the trust policy and its keys.
        path: The archive.

    Returns:
        Its size in bytes.

    Raises:
        ImageError: Content is missing or damaged.
        OutputError: The archive cannot be written.
    """
    with _complete(path) as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            _add(tar, "oci-layout", canonical({"imageLayoutVersion": "1.0.0"}))
            _add(tar, "index.json", _index(images, documents))
            for name, content in sorted(notes.items()):
                _add(tar, f"veilbox/{name}", content)
            for blob in _blobs(documents):
                with layout.open(blob) as reader, io.BufferedReader(reader, _CHUNK) as buffered:
                    tar.addfile(_entry(f"blobs/sha256/{blob.digest.hex}", blob.size), buffered)
                    reader.drain()
        return file.tell()


def load(layout: Layout, path: Path, held: Lease) -> tuple[Descriptor, ...]:
    """Take the content of an archive into a layout; names are the caller's to give.

    Args:
        layout: Where the content goes.
        path: The archive.
        held: Keeps the content until it has names.

    Returns:
        The entries of its index, every one whole and verified.

    Raises:
        UsageError: The file cannot be read.
        ImageError: It is no archive of images, or something in it is not what its digest says.
    """
    index: bytes | None = None
    with _opened(path) as tar:
        for entry in _counted(tar):
            if blob := _BLOB.fullmatch(entry.name):
                _take(layout, tar, entry, Digest(f"sha256:{blob[1]}"), held)
            elif entry.name == "index.json":
                index = _small(tar, entry)
    if index is None:
        raise ImageError("not an archive of images", where=str(path), expected="index.json in it")
    return _verified(layout, index)


def read_notes(path: Path) -> dict[str, bytes]:
    """The small files that an archive has for this side, by name; a name is one plain word with a suffix.

    Raises:
        UsageError: The file cannot be read.
        ImageError: It is no archive.
    """
    notes: dict[str, bytes] = {}
    with _opened(path) as tar:
        for entry in _counted(tar):
            if note := _NOTE.fullmatch(entry.name):
                notes[note[1]] = _small(tar, entry)
            if len(notes) > _MAX_NOTES:
                raise ImageError("archive of too many notes", where=str(path))
    return notes


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Read a tar from its beginning to its end; its faults are errors of ours."""
    try:
        with tarfile.open(path, mode="r|") as tar:
            yield tar
    except OSError as error:
        raise UsageError("archive cannot be read", where=str(path), actual=error.strerror or str(error)) from error
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ImageError("not an archive of images", where=str(path), actual=str(error)) from error


def _counted(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for number, entry in enumerate(tar):
        if number >= _MAX_ENTRIES:
            raise ImageError("archive of too many files", expected=f"at most {_MAX_ENTRIES}")
        yield entry


def _verified(layout: Layout, index: bytes) -> tuple[Descriptor, ...]:
    """The index's entries, after everything below each was found whole."""
    entries = parse_index(index)
    for entry in entries:
        for document, links in walk(layout, entry):
            for blob in links.blobs:
                if not layout.has(blob):
                    raise ImageError("archive lacks a part", where=document.digest.text, expected=blob.digest.text)
            if document.digest == entry.digest and SUBJECT in entry.annotations:
                _speaks_of(entry, links.subject)
    return entries


def _speaks_of(entry: Descriptor, subject: Descriptor | None) -> None:
    claimed = entry.annotations[SUBJECT]
    if subject is None or subject.digest.text != claimed:
        raise ImageError("speaks of another image than the index says", where=entry.digest.text, expected=claimed)


def _take(layout: Layout, tar: tarfile.TarFile, entry: tarfile.TarInfo, digest: Digest, held: Lease) -> None:
    content = tar.extractfile(entry) if entry.isreg() else None
    if content is None:
        raise ImageError("blob that is no file", where=entry.name)
    held.add([digest])
    with layout.incoming() as blob:
        while chunk := content.read(_CHUNK):
            blob.write(chunk)
        if blob.digest != digest:
            raise ImageError(
                "content is not what its digest says", where=entry.name, expected=str(digest), actual=str(blob.digest)
            )


def _small(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(entry) if entry.isreg() and entry.size <= MAX_JSON_BYTES else None
    if content is None:
        raise ImageError("no small file", where=entry.name, expected=f"at most {MAX_JSON_BYTES} bytes")
    return content.read()


def _index(images: Mapping[str, Descriptor], documents: Sequence[Document]) -> bytes:
    entries = [_named(descriptor, name) for name, descriptor in images.items()]
    for document in documents:
        if document.name is not None:
            entries.append(_named(document.descriptor, document.name))
        elif document.links.subject is not None:
            entry = descriptor_document(referrer_entry(document.descriptor, document.raw))
            notes = {**_annotations(entry), SUBJECT: document.links.subject.digest.text}
            entries.append({**entry, "annotations": notes})
    unique = {canonical(entry): entry for entry in entries}
    manifests = [unique[key] for key in sorted(unique)]
    return canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests})


def _named(descriptor: Descriptor, name: str) -> dict[str, object]:
    return {**descriptor_document(descriptor), "annotations": {**descriptor.annotations, REF_NAME: name}}


def _annotations(entry: Mapping[str, object]) -> dict[str, str]:
    return msgspec.convert(entry.get("annotations", {}), dict[str, str])


def _blobs(documents: Sequence[Document]) -> list[Descriptor]:
    found: dict[Digest, Descriptor] = {}
    for document in documents:
        found |= {blob.digest: blob for blob in (document.descriptor, *document.links.blobs)}
    return [found[digest] for digest in sorted(found)]


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_entry(name, len(content)), io.BytesIO(content))


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o644
    return entry  # time 0, owner 0, no names: the same images give the same bytes


@contextmanager
def _complete(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when it is whole and on the disk, or leaves nothing."""
    unfinished: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            unfinished = Path(file.name)
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        unfinished.rename(path)
        unfinished = None
    except OSError as error:
        raise OutputError("archive cannot be written", where=str(path), actual=error.strerror or str(error)) from error
    finally:
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
