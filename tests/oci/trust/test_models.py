"""Models as artifacts: taken in, judged, chosen and given up; what is wrong with one, and which clause says so."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from memory_registry import MemoryRegistry
from model_shelf import CARD, Shelf
from sides import memory_side, quiet
from trust_shop import NOW, key

from veilbox.cli.main import main
from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, UsageError
from veilbox.oci.image.compression import CompressedTar, Compression
from veilbox.oci.image.garbage import collect
from veilbox.oci.image.lease import lease
from veilbox.oci.image.spec import DIFF_ID, MANIFEST_TYPE, MODEL_CARD_TYPE, MODEL_TYPE, Descriptor
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.wire import artifact_bytes
from veilbox.oci.models import artifact as artifact_module
from veilbox.oci.models.admit import admit_model, settle_model
from veilbox.oci.models.artifact import ModelArtifact, make_artifact
from veilbox.oci.models.card import completed_card
from veilbox.oci.models.examine import examine_model
from veilbox.oci.models.pull import pull_model
from veilbox.oci.models.shelf import ModelChoices, find, held, tag_of
from veilbox.oci.pull import load_archive
from veilbox.oci.registry.images import copy, push, save
from veilbox.oci.trust.verify import Clause


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    store = ImageStore(tmp_path / "store")
    store.prepare()
    made = Shelf(store=store, folder=tmp_path)
    made.policy()
    return made


def test_a_model_is_admitted_under_its_own_name(shelf: Shelf) -> None:
    made = shelf.make()
    settled = shelf.settle(made)
    assert (settled.name, settled.weights, settled.classes) == ("finder", Digest.of(b"weights"), ("face",))
    assert settled.admission is not None
    assert settled.admission.keys == (key("alice").public.key_id,)
    assert (settled.folder / "models" / "finder" / "model.onnx").read_bytes() == b"weights"
    assert held(shelf.store) == {("finder", made.digest): shelf.store.layout.resolve(tag_of("finder", made.digest))}
    assert admit_model(shelf.store, "finder", made.descriptor, trust=shelf.trust()) == settled
    assert examine_model(shelf.store, "finder", made.descriptor, shelf.trust()) == settled


def test_the_same_files_give_the_same_artifact(shelf: Shelf, tmp_path: Path) -> None:
    other = Shelf(store=ImageStore(tmp_path / "other"), folder=tmp_path)
    other.store.prepare()
    assert shelf.make(sign="").digest == other.make(sign="").digest


def test_an_update_ships_only_its_own_layer(shelf: Shelf) -> None:
    one, two = shelf.make(b"one"), shelf.make(b"two")
    assert one.digest != two.digest
    assert [len(made.manifest.layers) for made in (one, two)] == [1, 1]


def test_image_verify_all_looks_at_models_too(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VEILBOX_HOME", str(shelf.store.root))
    made = shelf.make()
    settled = shelf.settle(made)
    name = tag_of("finder", made.digest)
    assert main(["image", "verify", "--all", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["state"], row["keys"]) == (name, "holds", [str(key("alice").public.key_id)])
    (settled.folder / "models" / "finder" / "model.onnx").write_bytes(b"others")
    assert main(["image", "verify", "--all", "--json"]) == 6
    printed = capsys.readouterr()
    (row,) = json.loads(printed.out)
    assert (row["name"], row["state"]) == (name, "refused")
    assert "not those of the card" in printed.err


RULES: dict[str, tuple[dict[str, Any], Clause, str]] = {
    "no rule": ({"keys": "[]"}, Clause.RULE, "refuses"),
    "another key": ({"keys": '["bob"]'}, Clause.SIGNATURE, "not signed by enough"),
    "two keys": ({"keys": '["alice", "bob"]', "rule": "threshold = 2"}, Clause.SIGNATURE, "not signed by enough"),
    "an expired key": ({"more": "not_after = 2026-01-01T00:00:00Z"}, Clause.SIGNATURE, "not signed by enough"),
    "a pin on another": ({"head": f'[models]\nfinder = ["sha256:{"0" * 64}"]'}, Clause.RULE, "pins another"),
    "no pin at all": ({"head": "[models]\nfinder = []"}, Clause.RULE, "pins another"),
}


@pytest.mark.parametrize("what", RULES)
def test_the_policy_decides(shelf: Shelf, what: str) -> None:
    changes, clause, words = RULES[what]
    made = shelf.make()
    shelf.policy(**changes)
    shelf.refused(made, clause, words)


def test_an_unsigned_model_is_refused(shelf: Shelf) -> None:
    shelf.refused(shelf.make(sign=""), Clause.SIGNATURE, "unsigned")


def test_a_signature_for_another_repository_is_refused(shelf: Shelf) -> None:
    made = shelf.make(sign="")
    shelf.sign(made, "alice", reference="r.example/veilbox/model-other")
    shelf.refused(made, Clause.SIGNATURE)


def test_a_signature_of_another_version_is_refused(shelf: Shelf) -> None:
    shelf.make(b"signed")
    shelf.refused(shelf.make(b"other", sign=""), Clause.SIGNATURE, "unsigned")


def test_an_old_signature_is_refused(shelf: Shelf) -> None:
    shelf.policy("max_age_days = 5")
    shelf.refused(shelf.make(), Clause.AGE, now=NOW + timedelta(days=6))


@pytest.mark.parametrize("what", ["key", "manifest", "layer", "weights"])
def test_what_was_taken_back_is_refused(shelf: Shelf, what: str) -> None:
    made = shelf.make()
    shelf.settle(made)
    digests = {"manifest": made.digest, "layer": made.layer.digest, "weights": made.card.weights}
    revoked = f'keys = ["{key("alice").public.key_id}"]' if what == "key" else f'digests = ["{digests[what]}"]'
    shelf.policy(head=f"[revoked]\n{revoked}")
    clause = Clause.SIGNATURE if what == "key" else Clause.REVOCATION
    with pytest.raises(ImageError, match=f"clause {clause.number}, {clause}"):
        admit_model(shelf.store, "finder", made.descriptor, trust=shelf.trust())


@pytest.mark.parametrize("what", ["weights", "artifact"])
def test_a_pinned_model_is_admitted_by_either_digest(shelf: Shelf, what: str) -> None:
    made = shelf.make()
    digest = made.card.weights if what == "weights" else made.digest
    shelf.policy(head=f'[models]\nfinder = ["{digest}"]')
    assert shelf.settle(made).manifest == made.digest


def test_another_model_under_a_name_is_refused(shelf: Shelf) -> None:
    made = shelf.make()
    with pytest.raises(ImageError, match="clause 1, name: it is another model"):
        admit_model(shelf.store, "seeker", made.descriptor, trust=shelf.trust())


@pytest.mark.parametrize("part", ["manifest", "card", "layer"])
def test_a_flipped_bit_is_refused(shelf: Shelf, part: str) -> None:
    made = shelf.make()
    digest = {"manifest": made.digest, "card": made.manifest.config.digest, "layer": made.layer.digest}[part]
    path = shelf.blob(digest)
    raw = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
    with pytest.raises(ImageError):
        shelf.settle(made)
    assert held(shelf.store) == {}


def test_unpacked_weights_that_changed_are_found(shelf: Shelf) -> None:
    settled = shelf.settle(shelf.make())
    (settled.folder / "models" / "finder" / "model.onnx").write_bytes(b"others")
    (descriptor,) = held(shelf.store).values()
    with pytest.raises(ImageError, match="not those of the card"):
        examine_model(shelf.store, "finder", descriptor, shelf.trust())
    shutil.rmtree(settled.folder)
    with pytest.raises(ImageError, match="not unpacked"):
        admit_model(shelf.store, "finder", descriptor, trust=shelf.trust())


def foreign(shelf: Shelf, entries: dict[str, bytes | str], card: bytes | None = None) -> ModelArtifact:
    """A signed artifact whose layer somebody else wrote; a text is the target of a symbolic link."""
    layout = shelf.store.layout
    raw = card if card is not None else completed_card(json.dumps(CARD).encode(), Digest.of(b"w"), name=None, where="")
    with layout.incoming() as blob:
        compressed = CompressedTar(blob, Compression.GZIP)
        with tarfile.open(fileobj=compressed, mode="w|") as tar:  # type: ignore[call-overload]
            for name, content in entries.items():
                entry = tarfile.TarInfo(name)
                if isinstance(content, str):
                    entry.type, entry.linkname = tarfile.SYMTYPE, content
                    tar.addfile(entry)
                else:
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
        diff_id = compressed.finish()
    layer = Descriptor(
        media_type=Compression.GZIP.media_type,
        digest=blob.digest,
        size=blob.size,
        annotations={DIFF_ID: diff_id.text},
    )
    manifest = artifact_bytes(MODEL_TYPE, layout.write(raw, MODEL_CARD_TYPE), (layer,))
    made = ModelArtifact.of(shelf.store, layout.write(manifest, MANIFEST_TYPE))
    shelf.sign(made, "alice")
    return made


RAW = completed_card(json.dumps(CARD).encode(), Digest.of(b"w"), name=None, where="")
GOOD: dict[str, bytes | str] = {"models/finder/model.onnx": b"w", "models/finder/card.json": RAW}
LAYERS: dict[str, tuple[dict[str, bytes | str], str]] = {
    "code beside the weights": (GOOD | {"usr/lib/python3/site-packages/veilbox/x.py": b""}, "too deep"),
    "a program beside the weights": (GOOD | {"usr/bin/python3": b""}, "nothing else"),
    "a second model": (GOOD | {"models/other.onnx": b""}, "nothing else|too much"),
    "another card": (GOOD | {"models/finder/card.json": RAW + b"\n"}, "another card"),
    "other weights": (GOOD | {"models/finder/model.onnx": b"v"}, "not those of the card"),
    "no card": ({"models/finder/model.onnx": b"w"}, "nothing else"),
    "weights that are a link": (GOOD | {"models/finder/model.onnx": "card.json"}, "nothing else|link"),
    "a file that deletes": (GOOD | {"models/.wh.centerface": b""}, "whiteout|too much"),
    "a climbing name": ({"models/../../x": b""}, ""),
}


def test_a_layer_that_another_tool_wrote_is_taken(shelf: Shelf) -> None:
    assert shelf.settle(foreign(shelf, GOOD)).weights == Digest.of(b"w")


@pytest.mark.parametrize("what", LAYERS)
def test_a_layer_holds_weights_and_card_alone(shelf: Shelf, what: str) -> None:
    entries, words = LAYERS[what]
    shelf.refused(foreign(shelf, entries), Clause.LAYERS, f"({words})")


NO_MODELS: dict[str, Callable[[ModelArtifact], dict[str, Any]]] = {
    "another kind": lambda _: {"artifact_type": "application/x"},
    "two layers": lambda made: {"layers": (made.layer, made.layer)},
    "a layer that does not name its tar": lambda made: {"layers": (replace(made.layer, annotations={}),)},
    "another configuration": lambda made: {"config": replace(made.manifest.config, media_type="application/x")},
}


@pytest.mark.parametrize("what", NO_MODELS)
def test_what_is_no_model(shelf: Shelf, what: str) -> None:
    made = shelf.make()
    parts: dict[str, Any] = {"artifact_type": MODEL_TYPE, "config": made.manifest.config, "layers": (made.layer,)}
    layout = shelf.store.layout
    descriptor = layout.write(artifact_bytes(**(parts | NO_MODELS[what](made))), MANIFEST_TYPE)
    with pytest.raises(ImageError, match="model"):
        ModelArtifact.of(shelf.store, descriptor)


CARDS: dict[str, tuple[dict[str, Any], str]] = {
    "another file's": ({"digest": Digest.of(b"another").text}, "another file"),
    "no licence": ({"licence": ""}, "licence"),
    "no training data": ({"training_data": None}, "training_data"),
    "recall of nothing said": ({"recall": None}, "recall"),
    "a name that climbs": ({"name": "../x"}, "name cannot be used"),
    "a name in capitals": ({"name": "Finder"}, "name cannot be used"),
    "a long name": ({"name": "a" * 41}, "name cannot be used"),
    "classes that are none": ({"classes": "face"}, "unreadable"),
}


@pytest.mark.parametrize("what", CARDS)
def test_a_card_that_is_not_as_it_must_be(shelf: Shelf, what: str) -> None:
    changes, words = CARDS[what]
    with pytest.raises(ImageError, match=words):
        shelf.make(**changes)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b'{"a":' * 100_000])
def test_what_is_no_card(raw: bytes) -> None:
    with pytest.raises(ImageError):
        completed_card(raw, Digest.of(b""), name=None, where="c")


def test_files_that_cannot_be_taken(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        make_artifact(shelf.store, shelf.folder / "none.onnx", shelf.folder / "none.json")
    monkeypatch.setattr(artifact_module, "MAX_MODEL_BYTES", 3)
    with pytest.raises(ImageError, match="too large"):
        shelf.make()


def test_that_nothing_was_measured_can_be_said(shelf: Shelf) -> None:
    assert shelf.make(recall=[]).card.measured == "not measured"
    assert shelf.make().card.measured == "face 0.900 (10 drawings)"


def test_finding_a_version(shelf: Shelf) -> None:
    one, two = shelf.make(b"one"), shelf.make(b"two")
    shelf.settle(one)
    assert find(shelf.store, "finder")[1].digest == one.digest
    shelf.settle(two)
    assert find(shelf.store, f"finder@{two.digest}")[1].digest == two.digest
    assert find(shelf.store, f"finder@{two.digest.hex[:12]}")[1].digest == two.digest
    with pytest.raises(UsageError, match="more than one version"):
        find(shelf.store, "finder")
    ModelChoices(shelf.store.root).choose("finder", one.digest)
    assert find(shelf.store, "finder")[1].digest == one.digest
    for text in ("finder@sha256:00", f"finder@{'0' * 64}", f"finder@{two.digest.hex[:11]}", "seeker"):
        with pytest.raises(UsageError, match="no such model"):
            find(shelf.store, text)


def test_choices_lead_back_one_step_at_a_time(shelf: Shelf) -> None:
    choices = ModelChoices(shelf.store.root)
    one, two = Digest.of(b"1"), Digest.of(b"2")
    assert choices.current("finder") is None
    with pytest.raises(UsageError, match="nothing was in use before"):
        choices.roll_back("finder")
    for version in (one, one, two):
        choices.choose("finder", version)
    assert (choices.current("finder"), choices.before("finder")) == (two, one)
    choices.roll_back("finder")
    assert choices.current("finder") == one
    choices.roll_back("finder")
    assert choices.current("finder") is None
    choices.choose("finder", two)
    choices.choose("finder", None)
    assert (choices.current("finder"), choices.before("finder")) == (None, two)


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"finder": []}', b'{"finder": ["sha256:0"]}', b'{"finder": 3}'])
def test_a_damaged_list_of_choices_is_no_choice(shelf: Shelf, raw: bytes) -> None:
    folder = shelf.store.root / "models"
    folder.mkdir()
    (folder / "in-use.json").write_bytes(raw)
    with pytest.raises(ImageError, match="damaged"):
        ModelChoices(shelf.store.root).current("finder")


def test_collecting_keeps_what_has_a_name(shelf: Shelf) -> None:
    settled, loose = shelf.settle(shelf.make()), shelf.make(b"loose", sign="")
    loose.unpack(shelf.store)
    collect(shelf.store)
    assert settled.folder.is_dir()
    assert admit_model(shelf.store, "finder", held(shelf.store)["finder", settled.manifest], trust=shelf.trust())
    assert not shelf.store.layer(loose.diff_id).exists()
    assert not shelf.store.layout.has(loose.descriptor)
    shelf.store.layout.forget(tag_of("finder", settled.manifest))
    collect(shelf.store)
    assert not settled.folder.exists()
    assert [*shelf.store.layout.blobs()] == []


def test_a_model_travels_in_an_archive_with_its_signature(shelf: Shelf, tmp_path: Path) -> None:
    settled = shelf.settle(shelf.make())
    tag = tag_of("finder", settled.manifest)
    save(shelf.store, [tag], {}, tmp_path / "a.tar")
    there = Shelf(store=ImageStore(tmp_path / "there"), folder=tmp_path)
    there.store.prepare()
    there.policy(keys='["bob"]')
    with pytest.raises(ImageError, match="clause 4, signature"):
        load_archive(there.store, tmp_path / "a.tar")
    assert held(there.store) == {}
    there.policy()
    assert load_archive(there.store, tmp_path / "a.tar") == {tag: settled.manifest}
    assert there.settle(ModelArtifact.of(there.store, held(there.store)["finder", settled.manifest])).name == "finder"


def test_a_model_under_another_s_tag_is_refused(shelf: Shelf) -> None:
    made = shelf.make()
    shelf.store.layout.tag(tag_of("finder", Digest.of(b"another")), made.descriptor)
    with pytest.raises(ImageError, match="under another's name"):
        held(shelf.store)
    with lease(shelf.store.root) as kept, pytest.raises(ImageError, match="under another's name"):
        settle_model(shelf.store, made.descriptor, kept, trust=shelf.trust(), tag=tag_of("seeker", made.digest))


def test_a_model_travels_through_registries_with_its_signature(shelf: Shelf, tmp_path: Path) -> None:
    side = memory_side(MemoryRegistry(), tmp_path)
    first = shelf.settle(shelf.make(b"first" * 1000))
    second = shelf.settle(shelf.make(b"second" * 1000))
    for settled, version in ((first, "1"), (second, "2")):
        tag, reference = tag_of("finder", settled.manifest), side.reference("model-finder", version)
        push(shelf.store, side.connection(), tag, reference, quiet)
    copy(side.connection(), side.reference("model-finder", "2"), side.reference("mirror/model-finder", "2"), quiet)
    there = Shelf(store=ImageStore(tmp_path / "there"), folder=tmp_path)
    there.store.prepare()
    there.policy(keys='["bob"]')
    reference = side.reference("mirror/model-finder", "2")
    with pytest.raises(ImageError, match="clause 4, signature"):
        pull_model(there.store, side.connection(), reference, quiet)
    assert held(there.store) == {}
    there.policy()
    pulled, _ = pull_model(there.store, side.connection(), reference, quiet)
    assert pulled.manifest == second.manifest
    assert [key for key, _ in held(there.store)] == ["finder"]
    _, moved = pull_model(there.store, side.connection(), side.reference("model-finder", "1"), quiet)
    # An update is its layer, its card, its manifest and its signature.
    (layer,) = ModelArtifact.of(there.store, held(there.store)["finder", first.manifest]).manifest.layers
    assert layer.size < moved.sent < layer.size + 3000
