"""What any registry of the distribution specification gives us: the same tests on ones in memory and on a real one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from images import SBOM_TYPE, blob_names, image, index, leftovers, noise, with_sbom, with_signature
from memory_registry import MemoryRegistry
from sides import Side, memory_side, quiet

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, RegistryError
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.lease import lease
from veilbox.oci.image.spec import LAYER_TYPE, Descriptor
from veilbox.oci.image.store import ImageStore
from veilbox.oci.registry.client import RepositoryClient, referrers_tag
from veilbox.oci.registry.content import Way
from veilbox.oci.registry.credentials import CredentialSource
from veilbox.oci.registry.http import HttpTransport
from veilbox.oci.registry.images import copy, fetch, push
from veilbox.oci.registry.local import LayoutPlace
from veilbox.oci.registry.retry import SystemClock

MEMORY: dict[str, dict[str, Any]] = {
    "open, with referrers": {},
    "basic, without referrers": {"auth": "basic", "referrers_api": False},
    "bearer, redirects to another host": {"auth": "bearer", "redirects": True},
    "pages of two, no ranges": {"page": 2, "ranges": False},
}


@pytest.fixture(params=[*MEMORY, pytest.param("real", marks=pytest.mark.registry)])
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Side]:
    if request.param != "real":
        yield memory_side(MemoryRegistry(**MEMORY[request.param]), tmp_path)
        return
    real = request.getfixturevalue("real")
    with HttpTransport(ca_file=real.ca_file) as transport:
        credentials = CredentialSource((real.auth_file,))
        yield Side(real.host, transport, credentials, SystemClock(), referrers_api=False)


@pytest.fixture
def place() -> str:
    """A path of its own in registries that outlive a test."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    made = ImageStore(tmp_path / "store")
    made.prepare()
    return made


def client(side: Side, name: str) -> RepositoryClient:
    return side.connection().repository(side.repository(name))


def fetched(side: Side, root: Path, name: str, tag: str = "1.0") -> tuple[Layout, Descriptor]:
    other = ImageStore(root)
    other.prepare()
    with lease(other.root) as held:
        moved = fetch(other, side.connection(), side.reference(name, tag), quiet, held)
    return other.layout, moved.root


def test_what_is_pushed_is_pulled(side: Side, place: str, store: ImageStore, tmp_path: Path) -> None:
    sample = with_sbom(image(store.layout, "one"))
    signature = with_signature(sample)
    moved = push(store, side.connection(), "one", side.reference(f"{place}/one"), quiet)
    assert moved.blobs[Way.SENT] == 7  # configuration, two layers, `{}`, SBOM, and the signature's two
    assert moved.referrers == 2
    layout, root = fetched(side, tmp_path / "other", f"{place}/one")
    assert root.digest == sample.manifest.digest
    assert blob_names(layout.root) == blob_names(store.layout.root)
    assert layout.resolve(signature) is not None
    assert [(one.artifact_type, one.annotations["a"]) for one in layout.referrers(root.digest)] == [(SBOM_TYPE, "b")]
    assert leftovers(layout.root) == []


def test_a_second_push_and_pull_move_nothing(side: Side, place: str, store: ImageStore, tmp_path: Path) -> None:
    with_sbom(image(store.layout, "one"))
    for expected in (5, 0):
        moved = push(store, side.connection(), "one", side.reference(f"{place}/one"), quiet)
        assert moved.blobs[Way.SENT] == expected
    fetched(side, tmp_path / "other", f"{place}/one")
    other = ImageStore(tmp_path / "other")
    with lease(other.root) as held:
        again = fetch(other, side.connection(), side.reference(f"{place}/one"), quiet, held)
    assert again.blobs[Way.SENT] == 0
    assert again.blobs[Way.THERE] == 5


def test_layers_are_mounted_across_repositories(side: Side, place: str, store: ImageStore) -> None:
    image(store.layout, "one", seeds=(1, 2))
    image(store.layout, "two", seeds=(1, 3))
    connection = side.connection()
    push(store, connection, "one", side.reference(f"{place}/one"), quiet)
    moved = push(store, connection, "two", side.reference(f"{place}/two"), quiet)
    assert moved.blobs == {Way.THERE: 0, Way.MOUNTED: 1, Way.SENT: 2}


def test_copy_in_one_registry_mounts_everything(side: Side, place: str, store: ImageStore, tmp_path: Path) -> None:
    sample = with_sbom(image(store.layout, "one"))
    push(store, side.connection(), "one", side.reference(f"{place}/one"), quiet)
    moved = copy(side.connection(), side.reference(f"{place}/one"), side.reference(f"{place}/copy", "2.0"), quiet)
    assert moved.blobs == {Way.THERE: 0, Way.MOUNTED: 5, Way.SENT: 0}
    layout, root = fetched(side, tmp_path / "other", f"{place}/copy", "2.0")
    assert root.digest == sample.manifest.digest
    assert len(layout.referrers(root.digest)) == 1


def test_an_index_goes_with_all_its_images(side: Side, place: str, store: ImageStore, tmp_path: Path) -> None:
    both = index(store.layout, "both", image(store.layout, "a", seeds=(1, 2)), image(store.layout, "b", seeds=(1, 3)))
    push(store, side.connection(), "both", side.reference(f"{place}/both"), quiet)
    layout, root = fetched(side, tmp_path / "other", f"{place}/both")
    assert root.digest == both.digest
    assert blob_names(layout.root) == blob_names(store.layout.root)


def test_a_blob_of_several_chunks(side: Side, place: str, store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veilbox.oci.registry.upload.CHUNK", 10_000)
    content = noise(9, 34_567)
    blob = store.layout.write(content, LAYER_TYPE)
    repository = client(side, f"{place}/chunks")
    source = LayoutPlace(store.layout)
    assert repository.receive(blob, source.blob(blob)[0], source) is Way.SENT
    assert b"".join(repository.read(blob, 0)) == content
    assert b"".join(repository.read(blob, 12_345)) == content[12_345:]


def test_tags_over_all_pages(side: Side, place: str, store: ImageStore) -> None:
    image(store.layout, "one")
    tags = [f"v{number}" for number in range(5)]
    for tag in tags:
        push(store, side.connection(), "one", side.reference(f"{place}/one", tag), quiet)
    assert sorted(set(client(side, f"{place}/one").tags()) - {"latest"}) == tags


def test_referrers_come_from_the_api_or_from_the_tag(side: Side, place: str, store: ImageStore) -> None:
    sample = with_sbom(with_sbom(image(store.layout, "one")), b'{"bom":2}')
    push(store, side.connection(), "one", side.reference(f"{place}/one"), quiet)
    repository = client(side, f"{place}/one")
    listed = repository.referrers(sample.manifest.digest)
    assert {one.digest for one in listed} == {one.digest for one in store.layout.referrers(sample.manifest.digest)}
    assert {one.artifact_type for one in listed} == {SBOM_TYPE}
    by_tag = repository.resolve(referrers_tag(sample.manifest.digest))
    assert (by_tag is None) == side.referrers_api
    assert repository.referrers(Digest.of(b"nobody speaks of it")) == ()


def test_what_is_not_there(side: Side, place: str, store: ImageStore) -> None:
    image(store.layout, "one")
    push(store, side.connection(), "one", side.reference(f"{place}/one"), quiet)
    repository = client(side, f"{place}/one")
    missing = Descriptor(media_type=LAYER_TYPE, digest=Digest.of(b"missing"), size=7)
    assert repository.resolve("no-such-tag") is None
    assert not repository.has(missing)
    with pytest.raises(RegistryError, match="blob is not there"):
        list(repository.read(missing, 0))
    with pytest.raises(RegistryError, match="repository is not there"):
        client(side, f"{place}/nothing").tags()
    with pytest.raises(ImageError, match="image is not there"):
        fetched(side, store.root / "other", f"{place}/one", "no-such-tag")


def test_wrong_bytes_are_never_finished_in_a_registry(side: Side, place: str, store: ImageStore) -> None:
    blob = Descriptor(media_type=LAYER_TYPE, digest=Digest.of(b"right"), size=5)
    source = LayoutPlace(store.layout)
    with pytest.raises(ImageError, match="not what its digest says"):
        client(side, f"{place}/one").receive(blob, lambda _: iter([b"wrong"]), source)
    assert not client(side, f"{place}/one").has(blob)
