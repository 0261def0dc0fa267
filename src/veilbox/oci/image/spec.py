"""The image-spec's words as values.

Source: OCI image-spec 1.1.1 (descriptor.md, manifest.md, config.md, annotations.md). Values that came from bytes keep
those bytes: a digest is always of what was read, never of a re-serialisation, and fields that we do not understand
survive in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from veilbox.core.digest import Digest

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"

# annotations.md: the name of an image inside a layout; skopeo's `oci:PATH:NAME` reads it.
REF_NAME = "org.opencontainers.image.ref.name"
TITLE = "org.opencontainers.image.title"

# descriptor.md and manifest.md: a manifest that carries no image but speaks of one, its `subject`.
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"

# Ours: a model by itself. Its configuration is its card, its one layer the one that a detector's image would have last.
MODEL_TYPE = "application/vnd.veilbox.model.v1"
MODEL_CARD_TYPE = "application/vnd.veilbox.model.card.v1+json"

# Ours, on entries of index.json that are referrers: which manifest they speak of, so that none needs to be opened to
# find them. The manifest's own `subject` decides.
SUBJECT = "io.veilbox.subject"

# Ours, on a named entry of index.json: the digest of the index through which the manifest was pulled. A hint: it counts
# where that index is here and lists the manifest.
INDEX = "io.veilbox.index"

# Ours, on layer descriptors and in the config's labels.
LAYER_NAME = "io.veilbox.layer"
RECIPE_LABEL = "io.veilbox.recipe"
MODEL_LABEL = "io.veilbox.model"
LOCK_LABEL = "io.veilbox.lock"

# Ours, on a model's layer, which has no image configuration to say it: the digest of the tar.
DIFF_ID = "io.veilbox.diff-id"

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """For which machines an image is, in Go's words (`amd64`, `arm64`; `linux`)."""

    architecture: str
    os: str = "linux"


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """What a blob must be: its type, its digest and its size in bytes; for a referrer also what kind of thing it is."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    platform: Platform | None = None
    artifact_type: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """An image manifest as it was read or written.

    Attributes:
        raw: The very bytes.
        digest: Their digest.
        config: The image configuration's descriptor.
        layers: The layers', bottom first.
        annotations: The manifest's own.
        subject: The manifest that this one speaks of, if it is a referrer.
        artifact_type: What kind of referrer; empty for images.
    """

    raw: bytes
    digest: Digest
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]
    subject: Descriptor | None = None
    artifact_type: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageConfig:
    """An image configuration as it was read or written.

    Attributes:
        raw: The very bytes.
        platform: For which machines.
        diff_ids: Digests of the uncompressed layers, bottom first.
        entrypoint: Program and first arguments.
        env: `NAME=value`, in order.
        user: User and group ids inside the image.
        labels: Free words; ours begin with `io.veilbox.`.
    """

    raw: bytes
    platform: Platform
    diff_ids: tuple[Digest, ...]
    entrypoint: tuple[str, ...]
    env: tuple[str, ...]
    user: tuple[int, int]
    labels: Mapping[str, str]
