"""What a manifest or index points at, so that whole images can be moved, kept and counted without knowing their kind.

Source: OCI image-spec 1.1.1, manifest.md and image-index.md. A document must be what its descriptor says and only
that: one that reads as manifest and as index at once shows another image to every reader (CVE-2021-41190).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.spec import INDEX, INDEX_TYPE, MANIFEST_TYPE, Descriptor
from veilbox.oci.image.wire import MAX_JSON_BYTES, parse_artifact, parse_index

# An index of indexes is allowed; nobody needs more.
_MAX_DEPTH = 4


class _Subject(msgspec.Struct, frozen=True):
    media_type: str = msgspec.field(name="mediaType")
    digest: str
    size: int


class _Kind(msgspec.Struct, frozen=True):
    """The fields that tell a manifest from an index."""

    media_type: str = msgspec.field(name="mediaType", default="")
    config: msgspec.Raw = msgspec.Raw()
    layers: msgspec.Raw = msgspec.Raw()
    manifests: msgspec.Raw = msgspec.Raw()
    subject: _Subject | None = None
    artifact_type: str = msgspec.field(name="artifactType", default="")
    annotations: dict[str, str] = {}


class _RootFs(msgspec.Struct, frozen=True):
    diff_ids: list[str]


class _Config(msgspec.Struct, frozen=True):
    rootfs: _RootFs


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """What one document points at.

    Attributes:
        manifests: Of an index.
        blobs: Configuration first, then layers, of a manifest; each digest once.
        subject: What it speaks of.
    """

    manifests: tuple[Descriptor, ...] = ()
    blobs: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None


def parse_links(raw: bytes, media_type: str) -> Links:
    """What a document of that type points at.

    Raises:
        ImageError: It is not of that type, or we do not know the type.
    """
    kind = _kind(raw)
    _one_meaning(kind, media_type)
    subject = _subject(kind)
    if media_type == INDEX_TYPE:
        return Links(manifests=parse_index(raw), subject=subject)
    manifest = parse_artifact(raw)
    blobs = {blob.digest: blob for blob in reversed((manifest.config, *manifest.layers))}
    return Links(blobs=tuple(reversed(blobs.values())), subject=subject)


def unpacked_layers(config: bytes) -> tuple[Digest, ...]:
    """The layers of an image configuration, by the digests of their tars; of any image, not only one we would run.

    Raises:
        ImageError: The bytes are no image configuration.
    """
    try:
        return tuple(Digest(text) for text in msgspec.json.decode(config, type=_Config).rootfs.diff_ids)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError("not an image configuration", actual=str(error)) from error


def document_type(raw: bytes) -> str:
    """The type that a document claims; empty if it claims none.

    Raises:
        ImageError: It is no JSON object.
    """
    return _kind(raw).media_type


def referrer_entry(descriptor: Descriptor, raw: bytes) -> Descriptor:
    """A referrer's descriptor as a list of referrers has it: with the manifest's artifact type and annotations.

    Source: distribution-spec 1.1.1, "Listing Referrers": the artifact type is the manifest's, or its configuration's.

    Raises:
        ImageError: The bytes are no manifest or index.
    """
    kind = _kind(raw)
    artifact_type = kind.artifact_type
    if not artifact_type and descriptor.media_type == MANIFEST_TYPE:
        artifact_type = parse_artifact(raw).config.media_type
    return replace(descriptor, artifact_type=artifact_type, annotations=kind.annotations, platform=None)


def index_above(entry: Descriptor) -> Digest | None:
    """The index through which an entry's manifest was pulled, as the entry says; None if it says nothing or rubbish."""
    with suppress(ImageError):
        return Digest(entry.annotations.get(INDEX, ""))
    return None


def walk(layout: Layout, root: Descriptor) -> Iterator[tuple[Descriptor, Links]]:
    """Every manifest and index below a root of a layout, the root last; each digest once.

    Raises:
        ImageError: A document is missing or not what its descriptor says.
    """
    yield from _walk(layout, root, set(), 0)


def _walk(layout: Layout, root: Descriptor, seen: set[Digest], depth: int) -> Iterator[tuple[Descriptor, Links]]:
    if root.digest in seen:
        return
    seen.add(root.digest)
    links = parse_links(layout.read(root), root.media_type)
    for child in links.manifests:
        if depth >= _MAX_DEPTH:
            raise ImageError("indexes within indexes", where=root.digest.text, expected=f"at most {_MAX_DEPTH}")
        yield from _walk(layout, child, seen, depth + 1)
    yield root, links


def _kind(raw: bytes) -> _Kind:
    if len(raw) > MAX_JSON_BYTES:
        raise ImageError("document is too large", expected=f"at most {MAX_JSON_BYTES} bytes", actual=str(len(raw)))
    try:
        return msgspec.json.decode(raw, type=_Kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError("not a manifest or index", actual=str(error)) from error


def _one_meaning(kind: _Kind, media_type: str) -> None:
    if media_type not in {MANIFEST_TYPE, INDEX_TYPE}:
        raise ImageError(
            "neither an OCI manifest nor an OCI index",
            expected=f"{MANIFEST_TYPE} or {INDEX_TYPE}",
            actual=media_type,
            advice="Convert it: skopeo copy --format oci",
        )
    if kind.media_type not in {"", media_type}:
        raise ImageError("document of another type than announced", expected=media_type, actual=kind.media_type)
    foreign = (kind.config, kind.layers) if media_type == INDEX_TYPE else (kind.manifests,)
    if any(bytes(field) for field in foreign):
        raise ImageError("document is manifest and index at once", expected=media_type)


def _subject(kind: _Kind) -> Descriptor | None:
    if kind.subject is None:
        return None
    return Descriptor(media_type=kind.subject.media_type, digest=Digest(kind.subject.digest), size=kind.subject.size)
