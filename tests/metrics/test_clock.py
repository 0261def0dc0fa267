"""Monotonic times of another kernel in this one's."""

from __future__ import annotations

import time

import pytest

from veilbox.metrics.clock import distance_ns, shift_ns

_S = 10**9


@pytest.mark.parametrize(
    ("theirs", "ours", "shift"),
    [
        (100 * _S, 40 * _S, 60 * _S),
        (40 * _S, 100 * _S, -60 * _S),
        (100 * _S, 100 * _S + 9_000_000, 0),  # the same clock, read with an interruption
        (0, 100 * _S, 0),  # not told
        (100 * _S, 0, 0),
    ],
)
def test_the_shift_brings_their_time_to_ours(theirs: int, ours: int, shift: int) -> None:
    assert shift_ns(theirs, ours) == shift


def test_a_kernel_that_began_later_is_brought_back() -> None:
    now, wall = time.monotonic_ns(), time.time_ns()
    theirs = 5 * _S  # on their clock it is five seconds after their start
    assert abs(theirs + shift_ns(wall - theirs, wall - now) - now) == 0


def test_one_clock_needs_no_shift() -> None:
    assert shift_ns(distance_ns(), distance_ns()) == 0
