"""Recall and precision are those that a patient person would count."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.evaluation.average_precision import average_precision
from veilbox.evaluation.labels import Box, Label
from veilbox.evaluation.matching import Band, Scored, bands, curve, overlap, within

FACE = (10.0, 10.0, 20.0, 20.0)
OTHER = (50.0, 50.0, 70.0, 70.0)


def label(box: Box, category: str = "face", *, ignored: bool = False) -> Label:
    return Label(category=category, box=box, ignored=ignored)


def found(score: float, box: Box, category: str = "face") -> Scored:
    return Scored(category=category, box=box, score=score)


def test_each_label_and_each_box_count_once() -> None:
    pictures = [([label(FACE), label(OTHER)], [found(0.9, FACE), found(0.8, FACE), found(0.7, (0, 0, 4, 4))])]
    drawn = curve(pictures, "face")
    assert drawn.hits.tolist() == [True, False, False]
    assert drawn.at(0.85) == (0.5, 1.0)
    recall, precision = drawn.at(0.5)
    assert recall == 0.5
    assert precision == pytest.approx(1 / 3)
    assert drawn.at(0.95) == (0.0, None)
    assert [drawn.recall_at(precision) for precision in (1.0, 0.5, 0.3)] == [0.5, 0.5, 0.5]


def test_boxes_of_another_class_and_on_crowds_are_neither_right_nor_wrong() -> None:
    labels = [label(FACE), label(OTHER, ignored=True), label(FACE, "plate")]
    boxes = [found(0.9, OTHER), found(0.8, FACE, "plate"), found(0.7, FACE)]
    drawn = curve([(labels, boxes)], "face")
    assert (drawn.wanted, drawn.hits.tolist()) == (1, [True])


def test_equal_scores_stand_or_fall_together() -> None:
    drawn = curve([([label(FACE)], [found(0.5, FACE), found(0.5, OTHER)])], "face")
    assert drawn.recall_at(0.6) == 0.0
    assert drawn.recall_at(0.5) == 1.0


def test_labels_are_counted_by_size() -> None:
    small, large = (0.0, 0.0, 10.0, 14.0), (100.0, 100.0, 200.0, 140.0)
    labels = [
        label(small),
        label(large),
        label((300.0, 0.0, 310.0, 15.0)),
        label((0.0, 300.0, 50.0, 350.0), ignored=True),
    ]
    boxes = [found(0.9, small), found(0.3, large), found(0.8, (0.0, 300.0, 50.0, 350.0))]
    # Geometric means of the sides are 11.8, 63.2 and 12.2 pixels.
    assert bands([(labels, boxes)], "face", threshold=0.5) == (
        Band(least=8, labels=1, found=1),
        Band(least=12, labels=1, found=0),
        Band(least=48, labels=1, found=0),
    )
    assert bands([(labels, boxes)], "face", threshold=0.3)[-1].found == 1


def test_without_labels_nothing_is_known() -> None:
    drawn = curve([([], [found(0.5, FACE)])], "face")
    assert drawn.at(0.1) == (None, 0.0)
    assert drawn.recall_at(0.5) is None
    assert all(value is None for values in average_precision([([], [])], "face").values() for value in values.values())


corner = st.integers(0, 60).map(float)
boxes = st.tuples(corner, corner, st.integers(4, 30), st.integers(4, 30)).map(
    lambda one: (one[0], one[1], one[0] + one[2], one[1] + one[3])
)
scores = st.integers(1, 99).map(lambda value: value / 100)
pictures_of = st.lists(
    st.tuples(
        st.lists(boxes.map(label), max_size=4),
        st.lists(st.tuples(scores, boxes).map(lambda one: found(*one)), max_size=6),
    ),
    min_size=1,
    max_size=3,
)


@given(pictures_of, st.randoms())
def test_neither_the_order_of_boxes_nor_that_of_pictures_matters(
    pictures: list[tuple[list[Label], list[Scored]]], random: Random
) -> None:
    drawn = curve(pictures, "face")
    mixed = [(labels, random.sample(one, len(one))) for labels, one in random.sample(pictures, len(pictures))]
    again = curve(mixed, "face")
    assert again.scores.tolist() == drawn.scores.tolist()
    assert [again.at(score) for score in drawn.scores] == [drawn.at(score) for score in drawn.scores]


@given(pictures_of)
def test_lower_thresholds_never_lose_recall(pictures: list[tuple[list[Label], list[Scored]]]) -> None:
    drawn = curve(pictures, "face")
    recalls = [drawn.at(score)[0] or 0.0 for score in np.linspace(1, 0, 21)]
    assert recalls == sorted(recalls)
    assert (drawn.recall_at(0.0) or 0.0) == recalls[-1]
    assert drawn.hits.sum() <= drawn.wanted


@given(boxes, boxes)
def test_overlap_is_symmetric_and_one_for_the_same(a: Box, b: Box) -> None:
    assert overlap(a, b) == overlap(b, a)
    assert overlap(a, a) == 1.0
    assert 0 <= overlap(a, b) <= within(a, b) <= 1


def test_average_precision_is_one_for_all_and_counts_by_size() -> None:
    large = (0.0, 0.0, 100.0, 100.0)
    pictures = [([label(FACE), label(large)], [found(0.9, FACE), found(0.8, large)])]
    by_area = average_precision(pictures, "face")
    assert by_area["all"] == pytest.approx({"0.3": 1.0, "0.5": 1.0, "0.5:0.95": 1.0})
    assert [by_area[area]["0.5"] for area in ("small", "large")] == pytest.approx([1.0, 1.0])
    assert by_area["medium"]["0.5"] is None


def test_average_precision_of_nothing_found_is_nothing() -> None:
    assert average_precision([([label(FACE)], [])], "face")["all"]["0.3"] == 0.0


@given(pictures_of)
def test_average_precision_at_a_low_overlap_is_never_below_a_high_one(
    pictures: list[tuple[list[Label], list[Scored]]],
) -> None:
    told = average_precision(pictures, "face")["all"]
    if told["0.5:0.95"] is not None and told["0.5"] is not None:
        assert told["0.5:0.95"] <= told["0.5"] + 1e-9
