"""A signature on an index alone vouches for the images that it lists, wherever one of them goes by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from memory_registry import MemoryRegistry
from sides import Side, memory_side, quiet
from trust_shop import NAME, NOW, Shop, key, shop

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.admit import Trust, admit
from veilbox.oci.examine import Kind, examine, held, held_images
from veilbox.oci.image.garbage import collect
from veilbox.oci.image.spec import INDEX, INDEX_TYPE, REF_NAME, Descriptor, Platform
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.store_usage import store_usage
from veilbox.oci.image.wire import index_bytes
from veilbox.oci.pull import load_archive, pull
from veilbox.oci.registry.images import push, save
from veilbox.oci.trust.containers_policy import parse_containers_policy
from veilbox.oci.trust.dsse import Envelope, statement_bytes
from veilbox.oci.trust.endorse import sign_index
from veilbox.oci.trust.evidence import add_attestations, signature_tag
from veilbox.oci.trust.predicates import CYCLONEDX
from veilbox.oci.trust.store import TrustStore

BOTH = f"{NAME}-index"
REPOSITORY = f"veilbox/{NAME}"


@pytest.fixture
def made(tmp_path: Path) -> Shop:
    """An image for this machine and one for others, unsigned, and an index over both that alice signed alone."""
    shop_ = shop(tmp_path / "ours", attested=False)
    native = replace(shop_.descriptor, annotations={}, platform=Platform(architecture="amd64"))
    other = replace(shop_.image(tag=f"{NAME}-arm64", of="others"), platform=Platform(architecture="arm64"))
    index = shop_.store.layout.write(index_bytes((native, other)), INDEX_TYPE)
    shop_.store.layout.tag(BOTH, index)
    assert sign_index(shop_.store, BOTH, key("alice"), reference=f"registry.example.org/veilbox/{NAME}", now=NOW)
    shop_.policy()
    return shop_


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return memory_side(MemoryRegistry(), tmp_path)


@pytest.fixture
def here(tmp_path: Path, made: Shop, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """Another machine with the same policy."""
    monkeypatch.setattr("veilbox.oci.pull.platform.machine", lambda: "x86_64")
    store = ImageStore(tmp_path / "here")
    store.prepare()
    trust(store, made)
    return store


def trust(store: ImageStore, made: Shop) -> None:
    (store.root / "trust").mkdir(exist_ok=True)
    for path in made.trust.iterdir():
        (store.root / "trust" / path.name).write_bytes(path.read_bytes())


def entry(store: ImageStore, name: str = NAME) -> Descriptor:
    found = store.layout.resolve(name)
    assert found is not None
    return found


def pulled(store: ImageStore, side: Side, made: Shop) -> Descriptor:
    push(made.store, side.connection(), BOTH, side.reference(REPOSITORY), quiet)
    pull(store, side.connection(), side.reference(REPOSITORY), NAME, quiet)
    return entry(made.store, BOTH)


def test_who_pulls_one_image_of_a_signed_index_may_run_it(here: ImageStore, side: Side, made: Shop) -> None:
    index = pulled(here, side, made)
    assert entry(here).digest == made.subject
    assert entry(here).annotations == {INDEX: index.digest.text, REF_NAME: NAME}
    assert admit(here, NAME).admission.keys == (key("alice").public.key_id,)
    assert here.layout.held(entry(made.store, f"{NAME}-arm64").digest, "") is None  # the other image stayed there
    assert examine(here, NAME, Trust.of(here), unpacked=True).manifest == made.subject


def test_without_the_index_s_signature_it_gets_no_name(here: ImageStore, side: Side, made: Shop) -> None:
    made.store.layout.forget(signature_tag(entry(made.store, BOTH).digest))
    with pytest.raises(ImageError, match="clause 4, signature: it is unsigned"):
        pulled(here, side, made)
    assert here.layout.resolve(NAME) is None


def test_the_collector_keeps_the_index_and_its_signature_with_the_image(
    here: ImageStore, side: Side, made: Shop
) -> None:
    index = pulled(here, side, made)
    collect(here)
    assert admit(here, NAME).manifest == made.subject
    assert store_usage(here).damaged == ()
    here.layout.forget(NAME)
    collect(here)
    assert here.layout.held(index.digest, "") is None
    assert here.layout.index() == ()


def test_an_archive_takes_the_index_s_signature_along(here: ImageStore, side: Side, made: Shop, tmp_path: Path) -> None:
    pulled(here, side, made)
    save(here, [NAME], {}, tmp_path / "a.tar")
    inside = ImageStore(tmp_path / "inside")
    inside.prepare()
    trust(inside, made)
    load_archive(inside, tmp_path / "a.tar")
    assert admit(inside, NAME).manifest == made.subject


def test_an_index_that_does_not_list_the_image_vouches_for_nothing(made: Shop) -> None:
    index = entry(made.store, BOTH)
    made.retag(NAME, made.descriptor, annotations={INDEX: index.digest.text})
    assert made.admit().manifest == made.subject
    stranger = made.image(of="a stranger")  # the annotation of the first image's entry is nobody's word
    made.retag(NAME, stranger, annotations={INDEX: index.digest.text})
    with pytest.raises(ImageError, match="clause 4, signature: it is unsigned"):
        made.admit()


def test_podman_s_and_skopeo_s_policies_ask_for_the_image_s_own_signature(made: Shop) -> None:
    """containers/image, copy/single.go: the policy is asked about the instance, not about the list."""
    index = entry(made.store, BOTH)
    made.retag(NAME, made.descriptor, annotations={INDEX: index.digest.text})
    requirement = {
        "type": "sigstoreSigned",
        "keyPath": str(made.trust / "alice.pub"),
        "signedIdentity": {"type": "exactRepository", "dockerRepository": f"registry.example.org/veilbox/{NAME}"},
    }
    raw = json.dumps({"default": [requirement]}).encode()
    trusted = Trust(
        store=TrustStore(made.trust), policy=parse_containers_policy(raw, folder=made.trust), now=datetime.now(UTC)
    )
    with pytest.raises(ImageError, match="clause 4, signature"):
        admit(made.store, NAME, trust=trusted)
    made.sign(reference=f"registry.example.org/veilbox/{NAME}")
    assert admit(made.store, NAME, trust=trusted).manifest == made.subject


def test_an_sbom_of_the_index_is_none_of_its_images(made: Shop) -> None:
    index = entry(made.store, BOTH)
    made.retag(NAME, made.descriptor, annotations={INDEX: index.digest.text})
    statement = statement_bytes("x", index.digest, CYCLONEDX, {"components": []})
    sealed = [(CYCLONEDX, Envelope.sealed(statement, key("alice")))]
    add_attestations(made.store.layout, index.digest, sealed, key("alice").public)
    made.policy('attestations = ["sbom"]')
    with pytest.raises(ImageError, match="clause 8, attestations"):
        made.admit()


@pytest.mark.parametrize("stated", ["", "sha256:0", "../../etc", Digest.of(b"not here").text])
def test_a_hint_that_leads_nowhere_admits_nothing(made: Shop, stated: str) -> None:
    made.retag(NAME, made.descriptor, annotations={INDEX: stated})
    with pytest.raises(ImageError, match="clause 4, signature: it is unsigned"):
        made.admit()
    collect(made.store)


def test_a_damaged_index_is_said(made: Shop) -> None:
    index = entry(made.store, BOTH)
    made.retag(NAME, made.descriptor, annotations={INDEX: index.digest.text})
    made.damage(index.digest)
    with pytest.raises(ImageError, match=r"clause 1, name: .*wrong content"):
        made.admit()


def test_a_revoked_index_takes_its_images_along(made: Shop) -> None:
    index = entry(made.store, BOTH)
    made.retag(NAME, made.descriptor, annotations={INDEX: index.digest.text})
    made.policy(head=f'[revoked]\ndigests = ["{index.digest}"]')
    with pytest.raises(ImageError, match="clause 3, revocation: it is revoked"):
        made.admit()


def test_an_index_is_verified_with_every_image_of_it(made: Shop) -> None:
    identity = 'identity = ["registry.example.org/**"]'
    assert held_images(made.store) == (NAME, f"{NAME}-arm64", BOTH)
    assert {one.name: one.kind for one in held(made.store)} == {
        NAME: Kind.COMPONENT,
        f"{NAME}-arm64": Kind.IMAGE,
        BOTH: Kind.INDEX,
    }
    made.policy(identity)
    policy = replace(Trust.of(made.store), now=datetime.now(UTC))
    assert examine(made.store, BOTH, policy, unpacked=True).manifest == entry(made.store, BOTH).digest
    made.damage(made.layers[1].descriptor.digest)
    with pytest.raises(ImageError, match="wrong content"):
        examine(made.store, BOTH, policy, unpacked=False)
    made.store.layout.forget(signature_tag(entry(made.store, BOTH).digest))
    with pytest.raises(ImageError, match="unsigned"):
        examine(made.store, BOTH, policy, unpacked=False)
