from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_images import MODEL, Small, blob_path, retag, signed, small_image

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, UsageError
from veilbox.oci.admit import admit
from veilbox.oci.image.spec import CONFIG_TYPE, RECIPE_LABEL
from veilbox.oci.image.store import ImageStore


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_image(ImageStore(tmp_path / "store"), tmp_path / "trees")


def test_an_image_is_admitted(small: Small) -> None:
    admitted = admit(small.store, small.name)
    assert admitted.name == "detect-centerface"
    assert admitted.manifest == small.manifest.digest
    assert [(folder / f"file{n}").read_bytes()[:1] for n, folder in enumerate(admitted.layers)] == [b"\0", b"\1"]
    assert admitted.entrypoint == ("/usr/bin/python3", "-m", "veilbox.components")
    assert admitted.env == ("B=2", "A=1")
    assert admitted.user == (65532, 65532)
    assert admitted.model == MODEL


def test_a_missing_image_comes_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing.*veilbox image build"):
        admit(ImageStore(tmp_path), "ingest")


def test_an_image_that_veilbox_does_not_know_is_refused(small: Small) -> None:
    small_name = "unknown"
    retag(small.store, small_name, small.manifest)
    signed(small.store, small_name)
    with pytest.raises(UsageError, match="no such image"):
        admit(small.store, small_name)


def test_an_image_of_another_veilbox_is_stale(small: Small) -> None:
    changed = small.config["config"] | {"Labels": {RECIPE_LABEL: Digest.of(b"old").text}}
    with pytest.raises(ImageError, match=r"stale.*veilbox image build"):
        admit(small.store, small.with_config(config=changed).name)


def test_an_image_without_a_recipe_is_stale(small: Small) -> None:
    with pytest.raises(ImageError, match="stale"):
        admit(small.store, small.with_config(config=small.config["config"] | {"Labels": {}}).name)


def test_an_image_under_another_ones_name_is_not_signed_as_that(small: Small) -> None:
    retag(small.store, "ingest", small.manifest)
    with pytest.raises(ImageError, match="clause 4, signature"):
        admit(small.store, "ingest")


def test_an_image_signed_under_another_ones_name_is_stale(small: Small) -> None:
    retag(small.store, "ingest", small.manifest)
    signed(small.store, "ingest")
    with pytest.raises(ImageError, match="stale"):
        admit(small.store, "ingest")


@pytest.mark.parametrize("user", ["0:0", "0:65532", "65532:0"])
def test_root_is_refused(small: Small, user: str) -> None:
    with pytest.raises(ImageError, match="root"):
        admit(small.store, small.with_config(config=small.config["config"] | {"User": user}).name)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_layers_that_manifest_and_configuration_do_not_share_are_refused(small: Small, count: int) -> None:
    diff_ids = [Digest.of(bytes([n])).text for n in range(count)]
    with pytest.raises(ImageError, match="different layers"):
        admit(small.store, small.with_config(rootfs={"type": "layers", "diff_ids": diff_ids}).name)


def test_a_layer_that_is_not_unpacked_is_refused(small: Small) -> None:
    shutil.rmtree(small.store.layer(small.layers[1].diff_id))
    with pytest.raises(ImageError, match="not unpacked"):
        admit(small.store, small.name)


def test_a_changed_manifest_is_refused(small: Small) -> None:
    path = blob_path(small.store, small.manifest.digest)
    path.write_bytes(path.read_bytes().replace(b"tar+gzip", b"tar+gzi_"))
    with pytest.raises(ImageError, match="wrong content"):
        admit(small.store, small.name)


def test_a_changed_configuration_is_refused(small: Small) -> None:
    config = next(
        path for path in (small.store.layout.root / "blobs" / "sha256").iterdir() if b"Entrypoint" in path.read_bytes()
    )
    config.write_bytes(config.read_bytes().replace(b"65532:65532", b"65532:65533"))
    with pytest.raises(ImageError, match="wrong content"):
        admit(small.store, small.name)


def test_a_wrong_size_in_the_index_is_refused(small: Small) -> None:
    retag(small.store, small.name, small.manifest, size=small.manifest.size + 1)
    with pytest.raises(ImageError, match="wrong size"):
        admit(small.store, small.name)


def test_an_index_that_points_at_something_else_is_refused(small: Small) -> None:
    retag(small.store, small.name, small.store.layout.write(b"{}", CONFIG_TYPE))
    with pytest.raises(ImageError):
        admit(small.store, small.name)
