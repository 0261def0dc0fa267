from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.errors import ProtocolError
from veilbox.metrics.histogram import LARGEST, Histogram, bucket, middle

values = st.integers(0, LARGEST)


def of(numbers: list[int]) -> Histogram:
    histogram = Histogram()
    for number in numbers:
        histogram.record(number)
    return histogram


@given(values)
def test_a_bucket_stands_for_its_values_within_one_percent(value: int) -> None:
    assert abs(middle(bucket(value)) - value) <= value / 100


@given(st.integers(0, LARGEST - 1))
def test_buckets_ascend_without_gaps(value: int) -> None:
    assert 0 <= bucket(value + 1) - bucket(value) <= 1


def test_small_values_are_exact_and_buckets_are_few() -> None:
    assert [middle(bucket(value)) for value in range(128)] == list(range(128))
    assert bucket(LARGEST) < 2240


@given(st.lists(values, min_size=1, max_size=200), st.floats(0, 1))
def test_quantiles_are_those_of_the_sorted_list_within_one_percent(numbers: list[int], q: float) -> None:
    exact = sorted(numbers)[max(math.ceil(q * len(numbers)), 1) - 1]
    found = of(numbers).quantile(q)
    assert found is not None
    assert abs(found - exact) <= exact / 100


@given(st.lists(values), st.lists(values))
def test_merging_is_recording_both(some: list[int], others: list[int]) -> None:
    merged = of(some)
    merged.merge(of(others))
    assert merged.packed() == of(some + others).packed()
    assert merged.count == len(some) + len(others)


@given(st.lists(values))
def test_packing_round_trips(numbers: list[int]) -> None:
    packed = of(numbers).packed()
    assert Histogram.unpacked(packed).packed() == packed


def test_nothing_recorded_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram().packed() == ()


@pytest.mark.parametrize(("value", "counted_as"), [(-5, 0), (LARGEST + 1, LARGEST), (1 << 80, LARGEST)])
def test_values_out_of_range_count_at_the_end(value: int, counted_as: int) -> None:
    assert of([value]).packed() == ((bucket(counted_as), 1),)


def test_a_value_can_be_recorded_many_times() -> None:
    histogram = Histogram()
    histogram.record(7, 1000)
    assert (histogram.count, histogram.quantile(1)) == (1000, 7)


@pytest.mark.parametrize(
    "pairs",
    [
        [(-1, 1)],
        [(bucket(LARGEST) + 1, 1)],
        [(3, 0)],
        [(3, -1)],
        [(3, 1), (3, 1)],
        [(4, 1), (3, 1)],
        [(3, 1 << 60)],
        [(index, 1 << 47) for index in range(3)],
    ],
)
def test_a_hostile_pack_is_refused(pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(ProtocolError, match="histogram"):
        Histogram.unpacked(pairs)
