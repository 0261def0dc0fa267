"""What is hidden is counted by the pixel, and who was to be seen with how sure that is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.evaluation.coverage import share_hidden, share_needless
from veilbox.evaluation.exposure import clopper_pearson, exposure


def test_shares_of_a_box_and_of_a_picture() -> None:
    hidden = np.zeros((10, 20), np.bool_)
    hidden[2:6, 4:8] = True
    assert share_hidden(hidden, (4, 2, 8, 6)) == 1.0
    assert share_hidden(hidden, (4, 2, 12, 6)) == 0.5
    assert share_hidden(hidden, (3.5, 2, 8, 6)) == 0.8
    assert share_hidden(hidden, (-4, -4, 0, 0)) is None
    assert share_hidden(hidden, (-8, 0, 8, 10)) == pytest.approx(16 / 80)
    assert share_needless(hidden, [(4, 2, 8, 6)], margin=0) == 0.0
    assert share_needless(hidden, [(5, 3, 7, 5)], margin=0.5) == 0.0
    assert share_needless(hidden, [], margin=0.15) == pytest.approx(16 / 200)


@given(st.tuples(*[st.floats(-30, 30)] * 4), st.floats(0, 1))
def test_shares_are_shares(corners: tuple[float, float, float, float], margin: float) -> None:
    hidden = np.indices((9, 11)).sum(axis=0) % 2 == 0
    x1, x2 = sorted(corners[::2])
    y1, y2 = sorted(corners[1::2])
    share = share_hidden(hidden, (x1, y1, x2, y2))
    assert share is None or 0 <= share <= 1
    assert 0 <= share_needless(hidden, [(x1, y1, x2, y2)], margin=margin) <= 1


def test_one_bad_frame_exposes_an_identity() -> None:
    seen = [("ada", 1.0), ("ada", 0.49), ("ada", 0.2), ("bo", 0.5), ("bo", 1.0)]
    told = exposure(seen)
    assert (told.identities, told.exposed, told.frames) == (2, 1, 2)
    assert told.low < 0.5 < told.high


def test_nobody_is_known_of_nobody() -> None:
    told = exposure([])
    assert (told.identities, told.low, told.high) == (0, 0.0, 1.0)


# R 4.3: binom.test(x, n)$conf.int; 0 and n have closed forms.
@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (0, 10, 0.0, 1 - 0.025 ** (1 / 10)),
        (10, 10, 0.025 ** (1 / 10), 1.0),
        (1, 2, 0.01257912, 0.98742088),
        (5, 20, 0.08657147, 0.49104587),
        (0, 300, 0.0, 1 - 0.025 ** (1 / 300)),
    ],
)
def test_the_interval_is_the_exact_one(hits: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=1e-7)


@given(st.integers(1, 60).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_the_interval_leaves_out_what_it_says(counts: tuple[int, int]) -> None:
    hits, trials = counts
    low, high = clopper_pearson(hits, trials)
    assert 0 <= low <= hits / trials <= high <= 1

    def at_least(count: int, share: float) -> float:
        return sum(math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(count, trials + 1))

    if hits:
        assert at_least(hits, low) == pytest.approx(0.025, abs=1e-6)
    if hits < trials:
        assert 1 - at_least(hits + 1, high) == pytest.approx(0.025, abs=1e-6)
