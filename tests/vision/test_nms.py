"""Suppression: the best stays, whatever the order of arrival."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from veilbox.vision.detect.candidates import Candidates
from veilbox.vision.detect.nms import overlap, overlaps, suppress

Row = tuple[float, float, float, float, float, int]

# Few places and few scores, so that overlaps and ties are common.
ROWS = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.integers(0, 20),
        st.integers(0, 12),
        st.integers(0, 12),
        st.sampled_from([0.1, 0.5, 0.9]),
        st.integers(0, 1),
    ).map(lambda r: (float(r[0]), float(r[1]), float(r[0] + r[2]), float(r[1] + r[3]), r[4], r[5])),
    max_size=30,
)
IOUS = st.sampled_from([0.1, 0.3, 0.5, 1.0])


def candidates(rows: list[Row]) -> Candidates:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Candidates(table[:, :4].copy(), table[:, 4].copy(), table[:, 5].astype(np.int32))


def kept(rows: list[Row], iou: float, limit: int = 100) -> list[tuple[float, ...]]:
    found = candidates(rows)
    chosen = suppress(found, iou=iou, limit=limit)
    columns = (found.boxes[chosen], found.scores[chosen, None], found.classes[chosen, None])
    return [tuple(row) for row in np.concatenate(columns, axis=1).tolist()]


def overlap_matrix(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.array([overlap(box, boxes) for box in boxes], np.float32).reshape(len(boxes), len(boxes))


@pytest.mark.parametrize(
    ("box", "other", "expected"),
    [
        ((0, 0, 4, 4), (0, 0, 4, 4), 1.0),
        ((0, 0, 4, 4), (4, 0, 8, 4), 0.0),
        ((0, 0, 4, 4), (2, 0, 6, 4), 1 / 3),
        ((0, 0, 4, 4), (1, 1, 3, 3), 0.25),
        ((2, 2, 2, 2), (2, 2, 2, 2), 0.0),
        ((2, 2, 2, 9), (0, 0, 9, 9), 0.0),
    ],
)
def test_overlap(box: tuple[float, ...], other: tuple[float, ...], expected: float) -> None:
    shares = overlap(np.array(box, np.float32), np.array([other], np.float32))
    assert shares.tolist() == pytest.approx([expected])


@settings(deadline=None)
@given(rows=ROWS, iou=IOUS, shuffle=st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(rows: list[Row], iou: float, shuffle: object) -> None:
    mixed = list(rows)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    assert kept(rows, iou) == kept(mixed, iou)


@settings(deadline=None)
@given(rows=ROWS, iou=IOUS)
def test_who_stays_is_apart_and_who_goes_has_a_better_one(rows: list[Row], iou: float) -> None:
    found = candidates(rows)
    chosen = suppress(found, iou=iou, limit=100)
    rivals = (overlap_matrix(found.boxes) >= iou) & (found.classes[:, None] == found.classes[None])
    for place, index in enumerate(chosen):
        assert not rivals[index, chosen[:place]].any()
    for index in set(range(len(rows))) - set(chosen.tolist()):
        assert any(rivals[index, c] and found.scores[c] >= found.scores[index] for c in chosen)


@settings(deadline=None)
@given(rows=ROWS, iou=IOUS)
def test_best_first_and_again_changes_nothing(rows: list[Row], iou: float) -> None:
    once = kept(rows, iou)
    assert [row[4] for row in once] == sorted((row[4] for row in once), reverse=True)
    assert kept([(*row[:5], int(row[5])) for row in once], iou) == once  # type: ignore[misc]


@settings(deadline=None)
@given(rows=ROWS, limit=st.integers(0, 5))
def test_a_limit_keeps_the_best(rows: list[Row], limit: int) -> None:
    assert kept(rows, 0.3, limit) == kept(rows, 0.3)[:limit]


@given(ROWS, ROWS)
def test_overlaps_are_those_of_every_pair(rows: list[Row], others: list[Row]) -> None:
    boxes, rest = (np.array([row[:4] for row in some], np.float32).reshape(-1, 4) for some in (rows, others))
    expected = np.array([overlap(box, rest) for box in boxes], np.float32).reshape(len(boxes), len(rest))
    assert np.array_equal(overlaps(boxes, rest), expected)
