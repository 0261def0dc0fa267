"""Small images with all that speaks of them, and ways to look at where they went."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.spec import (
    CONFIG_TYPE,
    EMPTY_TYPE,
    INDEX_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Descriptor,
    Platform,
)
from veilbox.oci.image.wire import artifact_bytes, canonical, descriptor_document, manifest_bytes

SBOM_TYPE = "application/vnd.cyclonedx+json"
SIGNATURE_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"


@dataclass(frozen=True)
class Sample:
    layout: Layout
    manifest: Descriptor
    layers: tuple[Descriptor, ...]
    config: Descriptor
    sbom: Descriptor | None = None


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - the same bytes each time


def image(layout: Layout, name: str, *, seeds: tuple[int, ...] = (1, 2), size: int = 1000) -> Sample:
    layers = tuple(layout.write(noise(seed, size), LAYER_TYPE) for seed in seeds)
    config = layout.write(
        canonical(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"User": "1:1", "Entrypoint": ["/x"]},
                "rootfs": {"type": "layers", "diff_ids": [Digest.of(bytes([seed])).text for seed in seeds]},
            }
        ),
        CONFIG_TYPE,
    )
    manifest = layout.write(manifest_bytes(config, layers, {"name": name}), MANIFEST_TYPE)
    layout.tag(name, manifest)
    return Sample(layout, manifest, layers, config)


def with_sbom(sample: Sample, content: bytes = b'{"bom":1}') -> Sample:
    layout = sample.layout
    empty = layout.write(b"{}", EMPTY_TYPE)
    layer = layout.write(content, SBOM_TYPE)
    raw = artifact_bytes(SBOM_TYPE, empty, (layer,), subject=sample.manifest, annotations={"a": "b"})
    referrer = replace(layout.write(raw, MANIFEST_TYPE), artifact_type=SBOM_TYPE, annotations={"a": "b"})
    layout.attach(referrer, sample.manifest.digest)
    return replace(sample, sbom=referrer)


def with_signature(sample: Sample) -> str:
    """As cosign stores it: an artifact under a tag made of the digest."""
    layout = sample.layout
    config = layout.write(canonical({"rootfs": {"type": "layers", "diff_ids": []}}), CONFIG_TYPE)
    layer = layout.write(b"signature of " + sample.manifest.digest.text.encode(), SIGNATURE_TYPE)
    name = f"sha256-{sample.manifest.digest.hex}.sig"
    layout.tag(name, layout.write(manifest_bytes(config, (layer,), {}), MANIFEST_TYPE))
    return name


def index(layout: Layout, name: str, *samples: Sample) -> Descriptor:
    children = [
        replace(sample.manifest, platform=Platform(architecture=architecture))
        for sample, architecture in zip(samples, ("amd64", "arm64"), strict=True)
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [descriptor_document(child) for child in children],
    }
    descriptor = layout.write(canonical(document), INDEX_TYPE)
    layout.tag(name, descriptor)
    return descriptor


def blob_names(root: Path) -> set[str]:
    folder = root / "blobs" / "sha256"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def leftovers(root: Path) -> list[str]:
    folder = root / ".incoming"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
