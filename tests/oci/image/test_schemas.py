from __future__ import annotations

import json
from pathlib import Path

import pytest
from image_schemas import faults
from small_images import small_image

from veilbox.core.digest import Digest
from veilbox.oci.image.spec import INDEX_TYPE, MANIFEST_TYPE, Descriptor, Platform
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.wire import index_bytes
from veilbox.oci.models.artifact import make_artifact

WHOLE = Descriptor(
    media_type=MANIFEST_TYPE,
    digest=Digest.of(b""),
    size=0,
    platform=Platform(architecture="arm64"),
    annotations={"a": "b"},
)


def test_small_images_are_accepted(tmp_path: Path) -> None:
    small = small_image(ImageStore(tmp_path / "store"), tmp_path / "trees")
    layout = small.store.layout
    assert faults("image-manifest", layout.read(small.manifest)) == []
    assert faults("config", json.dumps(small.config).encode()) == []
    assert faults("image-index", (layout.root / "index.json").read_bytes()) == []
    assert faults("image-layout", (layout.root / "oci-layout").read_bytes()) == []


def test_models_are_accepted(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    store.prepare()
    card = {"name": "m", "classes": ["face"], "licence": "MIT", "source": "here", "training_data": "none", "recall": []}
    (tmp_path / "card.json").write_text(json.dumps(card))
    (tmp_path / "m.onnx").write_bytes(b"weights")
    made = make_artifact(store, tmp_path / "m.onnx", tmp_path / "card.json")
    assert faults("image-manifest", made.manifest.raw) == []


def test_indexes_are_accepted() -> None:
    assert faults("image-index", index_bytes((WHOLE,))) == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("image-index", {"schemaVersion": 1}),
        ("image-index", {"manifests": None}),
        ("image-index", {"manifests": [{"mediaType": MANIFEST_TYPE, "digest": "sha256", "size": 1}]}),
        ("image-index", {"manifests": [{"mediaType": "none", "digest": WHOLE.digest.text, "size": 1}]}),
        ("image-manifest", {"layers": []}),
        ("image-manifest", {"config": {}}),
        ("config", {"architecture": 1}),
    ],
)
def test_the_schemas_do_find_faults(kind: str, change: dict[str, object]) -> None:
    whole = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}
    assert faults(kind, json.dumps(whole | change).encode()) != []
