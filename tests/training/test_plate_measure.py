"""Recall, precision and average precision on detections that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from plates.backgrounds import Photograph
from plates.measure import Finder, Found, Score, fitted, iou, score_of, thinned


def score(right: list[bool], labelled: int) -> Score:
    return Score(np.linspace(0.9, 0.1, len(right)), np.array(right, bool), labelled)


@pytest.mark.parametrize(
    ("right", "labelled", "average", "recall"),
    [
        ([True, True], 2, 1.0, 1.0),
        ([True, False, True], 2, 0.5 + 0.5 * 2 / 3, 0.5),
        ([False, False], 2, 0.0, 0.0),
        ([], 3, 0.0, 0.0),
        ([True, True, False, True], 4, 0.5 + 0.25 * 0.75, 0.75),
    ],
)
def test_curve(right: list[bool], labelled: int, average: float, recall: float) -> None:
    made = score(right, labelled)
    assert made.average == pytest.approx(average)
    assert made.recall_at(0.7)[0] == pytest.approx(recall)


def test_a_threshold_counts_what_reaches_it() -> None:
    made = score([True, False, True], 4)
    assert made.at(0.5) == (0.25, 0.5)
    assert made.at(0.95) == (0, 0)


def test_the_better_of_two_overlapping_boxes_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10]], float)
    kept, scores = thinned(boxes, np.array([0.5, 0.9, 0.2]))
    assert kept.tolist() == [boxes[1].tolist(), boxes[2].tolist()]
    assert scores.tolist() == [0.9, 0.2]


def test_overlap_by_hand() -> None:
    boxes = np.array([[0, 0, 10, 10]], float)
    others = np.array([[5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]], float)
    assert iou(boxes, others)[0] == pytest.approx([1 / 3, 0, 0])


@pytest.mark.parametrize(
    ("size", "upscale", "shape", "scale"),
    [
        ((720, 1280), False, (384, 640, 3), 0.5),
        ((416, 416), False, (416, 416, 3), 1),
        ((416, 416), True, (640, 640, 3), 640 / 416),
        ((10, 100), False, (32, 128, 3), 1),
    ],
)
def test_pictures_fit(size: tuple[int, int], upscale: bool, shape: tuple[int, ...], scale: float) -> None:
    picture, factor = fitted(np.zeros((*size, 3), np.uint8), longest=640, stride=32, upscale=upscale)
    assert picture.shape == shape
    assert factor == pytest.approx(scale)


def finder(*boxes: tuple[float, ...]) -> Finder:
    def find(_: NDArray[np.uint8]) -> Found:
        return np.array(boxes, float).reshape(-1, 4), np.linspace(0.9, 0.5, len(boxes))

    return find


def test_a_plate_is_found_once() -> None:
    labelled = Photograph("a", np.zeros((100, 200, 3), np.uint8), np.array([[10.0, 10.0, 50.0, 20.0]]))
    made = score_of(finder((5, 5, 25, 10), (5, 5, 12, 10), (90, 40, 95, 45)), [labelled], longest=100, stride=32)
    assert (made.right.tolist(), made.labelled) == ([True, False, False], 1)
    assert score_of(finder(), [labelled], longest=100, stride=32).average == 0
