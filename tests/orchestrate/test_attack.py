"""Who is in which picture, what a rate is worth, and what the adversary's pod may see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stage import PROGRAMS

from veilbox.components.adversary import _Picture, _rates
from veilbox.core.errors import ProtocolError
from veilbox.core.job import Item
from veilbox.core.linking import STRENGTHS, LinkRate
from veilbox.core.policy import Policy, Style
from veilbox.orchestrate.attack import people_of, wilson
from veilbox.orchestrate.plan import attack_plan

ROOT = Path("/staff")


def items(*names: str) -> list[Item]:
    return [Item(source=ROOT / name, output=None, name=name) for name in names]


def test_a_folder_is_a_person() -> None:
    assert people_of(items("a/1.jpg", "a/2.jpg", "b/1.jpg", "x.jpg", "y.jpg"), [ROOT]) == [0, 0, 1, 2, 3]


def test_frames_have_no_way_out_of_the_adversary_s_pod() -> None:
    plan = attack_plan(Policy(), PROGRAMS, cpus=2)
    assert {edge.name for edge in plan.edges if edge.producer == "anonymize"} == set()
    assert {container.name for container in plan.containers} == {"ingest", "detect-centerface", "anonymize"}


# Hits, trials -> the interval, as published for Wilson's method.
WILSON = [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662), (0, 0, 0.0, 1.0)]


@pytest.mark.parametrize(("hits", "trials", "low", "high"), WILSON)
def test_the_interval(hits: float, trials: int, low: float, high: float) -> None:
    assert wilson(hits, trials) == pytest.approx((low, high), abs=1e-4)


def picture(seed: int, *, face: bool = True) -> tuple[_Picture, _Picture]:
    """Of a face of its own whose vector says less from strength to strength; the last says nothing."""
    generator = np.random.default_rng(seed)
    left = generator.random((len(STRENGTHS), 30)).astype(np.float32)
    left[-1] = 0
    whole = _Picture(left, left.copy())
    return (whole if face else _Picture()), whole


def test_every_strength_and_adversary_is_told() -> None:
    people = np.array([0, 0, 1, 1, 2, 3])
    rates = _rates([picture(person) for person in people], people, whole=False)
    assert len(rates) == 2 * 2 * len(STRENGTHS)
    by = {(one.style, one.cells, one.adversary, one.same): one for one in rates}
    assert by["none", 0, "pixels", False].hits == by["none", 0, "pixels", False].trials == 2
    for adversary in ("pixels", "eigenfaces"):
        for same in (True, False):
            solid = by[Style.SOLID, 0, adversary, same]
            assert solid.hits / solid.trials == pytest.approx(solid.chance)
    assert by["none", 0, "eigenfaces", True].chance == pytest.approx(1 / 6)


def test_people_of_one_picture_each_are_linked_to_the_same_picture_only() -> None:
    rates = _rates([picture(number) for number in range(4)], np.arange(4), whole=False)
    assert {one.same for one in rates} == {True}


def test_pictures_without_a_face_do_not_count() -> None:
    pictures = [picture(number, face=number != 1) for number in range(4)]
    people = np.arange(5)
    assert {one.trials for one in _rates([*pictures, None], people, whole=False)} == {3}
    assert {one.trials for one in _rates([*pictures, None], people, whole=True)} == {4}
    assert _rates(pictures[:2], people[:2], whole=False) == []


@pytest.mark.parametrize(
    "words",
    [
        {"hits": 3.0},
        {"hits": -1.0},
        {"hits": float("nan")},
        {"style": "a face"},
        {"cells": 9},
        {"adversary": "x"},
        {"chance": 2.0},
    ],
)
def test_a_rate_that_cannot_be_is_refused(words: dict[str, float]) -> None:
    good: dict[str, object] = {
        "style": "solid", "cells": 0, "adversary": "pixels", "same": True, "hits": 1.0, "trials": 2, "chance": 0.5
    }  # fmt: skip
    LinkRate(**good)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError):
        LinkRate(**(good | words))  # type: ignore[arg-type]
