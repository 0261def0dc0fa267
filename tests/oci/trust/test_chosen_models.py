"""Which models a job detects with, and what its detectors' containers are made of."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from model_shelf import Shelf
from trust_shop import Shop, key, shop

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, UsageError
from veilbox.core.policy import Detection, Policy
from veilbox.oci.image.spec import MODEL_LABEL
from veilbox.oci.models.carried import carried
from veilbox.oci.models.shelf import ModelChoices, tag_of
from veilbox.orchestrate.models import chosen_models, furnished, in_use, of_second_look
from veilbox.orchestrate.plan import Program, anonymize_plan, detectors_of, trial_plan

BUILT_IN = Digest.of(b"what the image carries")
COMPONENT = "detect-centerface"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """An image whose last layer says that a model is in it."""
    made = shop(tmp_path_factory.mktemp("shop"), attested=False)
    noted = replace(made.layers[1].descriptor, annotations={MODEL_LABEL: BUILT_IN.text})
    made = replace(made, layers=(made.layers[0], replace(made.layers[1], descriptor=noted)))
    made.image(**{MODEL_LABEL: BUILT_IN.text})
    made.sign()
    return made


@pytest.fixture
def here(original: Shop, tmp_path: Path) -> Shop:
    shutil.copytree(original.store.root, tmp_path / "store")
    made = replace(original, store=type(original.store)(tmp_path / "store"))
    made.policy()
    return made


@pytest.fixture
def shelf(here: Shop, tmp_path: Path) -> Shelf:
    return Shelf(store=here.store, folder=tmp_path)


def policy(*models: str, classes: tuple[str, ...] = ("face",)) -> Policy:
    return Policy(detection=Detection(classes=classes, models=models))


def model(shelf: Shelf, name: str = "centerface", **changes: Any) -> Digest:
    made = shelf.make(sign="", name=name, **changes)
    shelf.sign(made, "alice", reference=f"r.example/model-{name}")
    return shelf.settle(made).manifest


def test_without_a_choice_the_image_s_own_runs(here: Shop, shelf: Shelf) -> None:
    assert chosen_models(here.store, policy(), shelf.trust()) == {COMPONENT: None}
    image = furnished(here.store, COMPONENT, None, shelf.trust())
    assert (image.model, len(image.layers)) == (BUILT_IN, 2)


def test_a_chosen_model_takes_the_place_of_the_image_s_layer(here: Shop, shelf: Shelf) -> None:
    version = model(shelf)
    ModelChoices(here.store.root).choose("centerface", version)
    chosen = chosen_models(here.store, policy(), shelf.trust())[COMPONENT]
    assert chosen is not None
    assert chosen.manifest == version
    before, after = (furnished(here.store, COMPONENT, one, shelf.trust()) for one in (None, chosen))
    assert after.manifest == before.manifest
    assert after.layers == (before.layers[0], chosen.folder)
    assert (after.model, after.name) == (Digest.of(b"weights"), COMPONENT)
    ModelChoices(here.store.root).roll_back("centerface")
    assert chosen_models(here.store, policy(), shelf.trust()) == {COMPONENT: None}


def test_a_model_without_an_image_of_its_name_runs_in_another_s(here: Shop, shelf: Shelf) -> None:
    version = model(shelf, "finder")
    chosen = chosen_models(here.store, policy(f"finder@{version}"), shelf.trust())
    assert [*chosen] == ["detect-finder"]
    image = furnished(here.store, "detect-finder", chosen["detect-finder"], shelf.trust())
    assert (image.name, image.model) == ("detect-finder", Digest.of(b"weights"))
    assert image.manifest == here.subject


def test_built_in_detectors_look_for_what_a_model_does_not_find(here: Shop, shelf: Shelf) -> None:
    model(shelf, "finder")
    both = chosen_models(here.store, policy("finder", classes=("face", "plate")), shelf.trust())
    assert {name: one is None for name, one in both.items()} == {"detect-finder": False, "detect-plates": True}
    model(shelf, "seeker", classes=["cat"], recall=[])
    assert [*chosen_models(here.store, policy("seeker", classes=("cat",)), shelf.trust())] == ["detect-seeker"]
    mixed = chosen_models(here.store, policy("seeker", classes=("cat", "face")), shelf.trust())
    assert [*mixed] == ["detect-seeker", COMPONENT]


def test_a_version_may_be_tried_in_one_job(here: Shop, shelf: Shelf) -> None:
    one, two = model(shelf, weights=b"1"), model(shelf, weights=b"2")
    ModelChoices(here.store.root).choose("centerface", one)
    chosen = chosen_models(here.store, policy(f"centerface@{two}"), shelf.trust())
    assert [found.manifest for found in chosen.values() if found] == [two]


ASKED: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "one that is not here": (("nobody",), ("face",), "no such model here"),
    "one twice": (("finder", "finder"), ("face",), "asked for twice"),
    "one that finds something else": (("finder",), ("plate",), "finds nothing of what is to be hidden"),
    "a class that nothing finds": ((), ("cat",), "nothing detects this class"),
    "a class that no model finds": (("finder",), ("face", "cat"), "nothing detects this class"),
}


@pytest.mark.parametrize("what", ASKED)
def test_what_cannot_be_asked_for(here: Shop, shelf: Shelf, what: str) -> None:
    models, classes, words = ASKED[what]
    model(shelf, "finder")
    with pytest.raises(UsageError, match=words):
        chosen_models(here.store, policy(*models, classes=classes), shelf.trust())


def test_a_model_in_use_that_is_gone_or_refused_ends_the_job(here: Shop, shelf: Shelf) -> None:
    version = model(shelf)
    ModelChoices(here.store.root).choose("centerface", version)
    here.policy(head="", keys='["bob"]')
    with pytest.raises(ImageError, match="model-centerface: refused by clause 4, signature"):
        in_use(here.store, "centerface", shelf.trust())
    here.policy()
    here.store.layout.forget(tag_of("centerface", version))
    with pytest.raises(ImageError, match="not here any more"):
        chosen_models(here.store, policy(), shelf.trust())


@pytest.mark.parametrize("pin", [BUILT_IN, Digest.of(b"another")])
def test_the_image_s_own_model_is_held_to_its_pin(here: Shop, shelf: Shelf, pin: Digest) -> None:
    path = here.store.root / "trust" / "policy.toml"
    path.write_text(f'{path.read_text()}\n[models]\ncenterface = ["{pin}"]\n')
    if pin == BUILT_IN:
        assert furnished(here.store, COMPONENT, None, shelf.trust()).model == BUILT_IN
        return
    with pytest.raises(ImageError, match="pins another"):
        furnished(here.store, COMPONENT, None, shelf.trust())


def test_the_second_look_runs_the_image_s_own_model_unless_the_policy_pins_another(here: Shop, shelf: Shelf) -> None:
    """So a model that was chosen, and is blind, meets another opinion."""
    version = model(shelf)
    ModelChoices(here.store.root).choose("centerface", version)
    assert of_second_look(here.store, COMPONENT, shelf.trust()).model == BUILT_IN
    path = here.store.root / "trust" / "policy.toml"
    path.write_text(f'{path.read_text()}\n[models]\ncenterface = ["{version}"]\n')
    chosen = in_use(here.store, "centerface", shelf.trust())
    assert chosen is not None
    assert of_second_look(here.store, COMPONENT, shelf.trust()).model == chosen.weights != BUILT_IN


def test_an_image_that_does_not_name_its_model_s_layer_takes_no_other(here: Shop, shelf: Shelf) -> None:
    model(shelf)
    chosen = chosen_models(here.store, policy("centerface"), shelf.trust())[COMPONENT]
    plain = tuple(replace(one, descriptor=replace(one.descriptor, annotations={})) for one in here.layers)
    bare = replace(here, layers=plain)
    bare.image(**{MODEL_LABEL: BUILT_IN.text})
    bare.sign()
    with pytest.raises(ImageError, match="which layer its model is in"):
        furnished(here.store, COMPONENT, chosen, shelf.trust())


def test_a_carried_model_is_what_the_image_says(here: Shop) -> None:
    path = here.store.layer(here.layers[0].diff_id) / "models" / "finder" / "card.json"
    card = {"name": "finder", "classes": ["face"], "licence": "MIT", "digest": BUILT_IN.text}
    path.write_text(json.dumps(card))
    found = carried(here.admit())
    assert found is not None
    assert (found.card.name, found.image, found.stated) == ("finder", COMPONENT, BUILT_IN)
    assert carried(replace(here.admit(), model=None)) is None
    path.write_text(json.dumps(card | {"digest": Digest.of(b"another").text}))
    with pytest.raises(ImageError, match="not what its image says"):
        carried(here.admit())


def test_plans_take_the_detectors_that_they_are_given() -> None:
    names = ("ingest", "detect-finder", "anonymize", "export", "verify", "second-centerface", "audit")
    programs = {name: Program(image=BUILT_IN, args=(), env=()) for name in names}
    assert detectors_of(anonymize_plan(Policy(), programs, cpus=1, detect=("detect-finder",))) == ("detect-finder",)
    trial = trial_plan("detect-finder", programs, cpus=1)
    assert ([one.mounts for one in trial.containers], trial.edges, trial.volumes) == ([()], (), ())


def test_keys_are_what_the_report_names(here: Shop, shelf: Shelf) -> None:
    model(shelf)
    chosen = chosen_models(here.store, policy("centerface"), shelf.trust())[COMPONENT]
    assert chosen is not None
    assert chosen.admission is not None
    assert chosen.admission.keys == (key("alice").public.key_id,)
