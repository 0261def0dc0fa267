"""The door between the image-spec's JSON and its values.

Reading is strict about the fields that we use and keeps the others in the raw bytes; writing is canonical (sorted
keys, no blanks), so the same values give the same digest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.spec import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, Descriptor, ImageConfig, Manifest, Platform

# distribution-spec 1.1.1, "Pushing Manifests": registries accept at least 4 MiB; nobody needs more.
MAX_JSON_BYTES = 4 << 20

_USER = re.compile(r"([0-9]{1,9}):([0-9]{1,9})", re.ASCII)


class _Platform(msgspec.Struct, frozen=True):
    architecture: str
    os: str

    def value(self) -> Platform:
        return Platform(architecture=self.architecture, os=self.os)


class _Descriptor(msgspec.Struct, frozen=True):
    media_type: str = msgspec.field(name="mediaType")
    digest: str
    size: int
    annotations: dict[str, str] = {}
    platform: _Platform | None = None
    artifact_type: str = msgspec.field(name="artifactType", default="")

    def value(self) -> Descriptor:
        if self.size < 0:
            raise ImageError("descriptor with a negative size", where=self.digest, actual=str(self.size))
        return Descriptor(
            media_type=self.media_type,
            digest=Digest(self.digest),
            size=self.size,
            annotations=self.annotations,
            platform=self.platform.value() if self.platform else None,
            artifact_type=self.artifact_type,
        )


class _Manifest(msgspec.Struct, frozen=True):
    schema_version: int = msgspec.field(name="schemaVersion")
    media_type: str = msgspec.field(name="mediaType")
    config: _Descriptor
    layers: list[_Descriptor]
    annotations: dict[str, str] = {}
    subject: _Descriptor | None = None
    artifact_type: str = msgspec.field(name="artifactType", default="")


class _Execution(msgspec.Struct, frozen=True):
    user: str = msgspec.field(name="User")
    entrypoint: list[str] = msgspec.field(name="Entrypoint")
    env: list[str] = msgspec.field(name="Env", default_factory=list)
    labels: dict[str, str] = msgspec.field(name="Labels", default_factory=dict)


class _RootFs(msgspec.Struct, frozen=True):
    type: str
    diff_ids: list[str]


class _Config(msgspec.Struct, frozen=True):
    architecture: str
    os: str
    config: _Execution
    rootfs: _RootFs


class _Index(msgspec.Struct, frozen=True):
    schema_version: int = msgspec.field(name="schemaVersion")
    manifests: list[_Descriptor]


def parse_index(raw: bytes) -> tuple[Descriptor, ...]:
    """The descriptors of an image index (image-index.md).

    Raises:
        ImageError: The bytes are no such index.
    """
    index = _decode(raw, _Index, "image index")
    _expect("schemaVersion", 2, index.schema_version)
    return tuple(one.value() for one in index.manifests)


def parse_manifest(raw: bytes) -> Manifest:
    """An image manifest from its bytes (manifest.md).

    Raises:
        ImageError: The bytes are no manifest of an image, or of an artifact that is none.
    """
    manifest = parse_artifact(raw)
    _expect("config.mediaType", CONFIG_TYPE, manifest.config.media_type)
    return manifest


def parse_artifact(raw: bytes) -> Manifest:
    """A manifest of anything: an image, a signature, an SBOM (manifest.md, "Guidelines for Artifact Usage").

    Raises:
        ImageError: The bytes are no manifest.
    """
    manifest = _decode(raw, _Manifest, "image manifest")
    _expect("schemaVersion", 2, manifest.schema_version)
    _expect("mediaType", MANIFEST_TYPE, manifest.media_type)
    return Manifest(
        raw=raw,
        digest=Digest.of(raw),
        config=manifest.config.value(),
        layers=tuple(layer.value() for layer in manifest.layers),
        annotations=manifest.annotations,
        subject=manifest.subject.value() if manifest.subject else None,
        artifact_type=manifest.artifact_type,
    )


def parse_config(raw: bytes) -> ImageConfig:
    """An image configuration from its bytes (config.md).

    Raises:
        ImageError: The bytes are no such configuration, or its user is not two numbers (a name would need the
            image's own /etc/passwd to be believed).
    """
    config = _decode(raw, _Config, "image configuration")
    _expect("rootfs.type", "layers", config.rootfs.type)
    user = _USER.fullmatch(config.config.user)
    if user is None:
        raise ImageError("image user is not UID:GID in numbers", expected="65532:65532", actual=config.config.user)
    return ImageConfig(
        raw=raw,
        platform=Platform(architecture=config.architecture, os=config.os),
        diff_ids=tuple(Digest(text) for text in config.rootfs.diff_ids),
        entrypoint=tuple(config.config.entrypoint),
        env=tuple(config.config.env),
        user=(int(user[1]), int(user[2])),
        labels=config.config.labels,
    )


def canonical(document: object) -> bytes:
    """JSON with sorted keys and no blanks: the same document always gives the same bytes."""
    return msgspec.json.encode(document, order="sorted")


def descriptor_document(descriptor: Descriptor) -> dict[str, object]:
    """A descriptor as a JSON object (descriptor.md); empty fields are left out."""
    document: dict[str, object] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest.text,
        "size": descriptor.size,
    }
    if descriptor.annotations:
        document["annotations"] = dict(descriptor.annotations)
    if descriptor.platform is not None:
        document["platform"] = {"architecture": descriptor.platform.architecture, "os": descriptor.platform.os}
    if descriptor.artifact_type:
        document["artifactType"] = descriptor.artifact_type
    return document


def manifest_bytes(config: Descriptor, layers: tuple[Descriptor, ...], annotations: Mapping[str, str]) -> bytes:
    """A manifest's canonical bytes."""
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor_document(config),
            "layers": [descriptor_document(layer) for layer in layers],
            "annotations": dict(annotations),
        }
    )


def artifact_bytes(
    artifact_type: str,
    config: Descriptor,
    layers: tuple[Descriptor, ...],
    *,
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """The canonical bytes of a manifest that is no image; with a `subject` it is that manifest's referrer.

    Args:
        artifact_type: What it is; may be empty where the configuration's type says it.
        config: Its configuration; `{}` of the empty type if it has none.
        layers: Its content.
        subject: What it speaks of.
        annotations: Its own.
    """
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor_document(config),
        "layers": [descriptor_document(layer) for layer in layers],
    }
    if artifact_type:
        document["artifactType"] = artifact_type
    if subject is not None:
        document["subject"] = {
            "mediaType": subject.media_type,
            "digest": subject.digest.text,
            "size": subject.size,
        }
    if annotations:
        document["annotations"] = dict(annotations)
    return canonical(document)


def index_bytes(manifests: tuple[Descriptor, ...]) -> bytes:
    """An index's canonical bytes (image-index.md); its entries stay in their order."""
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [descriptor_document(manifest) for manifest in manifests],
        }
    )


_Wire = TypeVar("_Wire")


def _decode(raw: bytes, kind: type[_Wire], what: str) -> _Wire:
    if len(raw) > MAX_JSON_BYTES:
        raise ImageError(f"{what} is too large", expected=f"at most {MAX_JSON_BYTES} bytes", actual=str(len(raw)))
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # ValidationError is a DecodeError
        raise ImageError(f"not an {what}", actual=str(error), advice="Rebuild with `veilbox image build`") from error


def _expect(name: str, expected: object, actual: object) -> None:
    if actual != expected:
        raise ImageError("unexpected value", where=name, expected=str(expected), actual=str(actual))
