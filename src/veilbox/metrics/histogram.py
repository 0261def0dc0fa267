"""A histogram of whole numbers whose size does not depend on how many there are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from veilbox.core.errors import ProtocolError

# 64 buckets for each doubling: a bucket's middle is at most 1/128 = 0.8 % from any of its values. Values below 128
# have a bucket each. The scheme is HdrHistogram's (Tene), with a fixed precision.
_BITS = 6
_EXACT = 2 << _BITS
# In microseconds 2**40 is twelve days; greater values count as this one.
LARGEST = (1 << 40) - 1
_MOST_RECORDS = 1 << 48  # what a hostile component may claim; sums stay exact in double precision


def bucket(value: int) -> int:
    """The index of the bucket that a value falls into.

    Args:
        value: From 0 to `LARGEST`.

    Returns:
        From 0 to 2,239; ascending with the value, without gaps.
    """
    shift = max(value.bit_length() - _BITS - 1, 0)
    return (shift << _BITS) + (value >> shift)


def middle(index: int) -> int:
    """The value in the middle of a bucket, at most 1 % from each of the bucket's values."""
    if index < _EXACT:
        return index
    shift = (index >> _BITS) - 1
    low = (index - (shift << _BITS)) << shift
    return low + ((1 << shift) - 1) // 2


_BUCKETS = bucket(LARGEST) + 1


class Histogram:
    """Counts of non-negative whole numbers, such as microseconds, in log-linear buckets."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return self._counts.total()

    def record(self, value: int, times: int = 1) -> None:
        """Count a value; one below 0 counts as 0, one above `LARGEST` as `LARGEST`."""
        self._counts[bucket(min(max(value, 0), LARGEST))] += times

    def merge(self, other: Histogram) -> None:
        """Add another histogram's counts to this one."""
        self._counts.update(other._counts)

    def quantile(self, q: float) -> int | None:
        """The value that a share `q` of all values does not exceed, within 1 %.

        Args:
            q: In [0, 1]: 0.5 is the median. The rank is ceil(q * count), at least 1, without interpolation.

        Returns:
            None if nothing was recorded.
        """
        rank = max(math.ceil(q * self.count), 1)
        passed = 0
        for index, times in sorted(self._counts.items()):
            passed += times
            if passed >= rank:
                return middle(index)
        return None

    def packed(self) -> tuple[tuple[int, int], ...]:
        """The buckets that are not empty, as (index, count), ascending."""
        return tuple(sorted(self._counts.items()))

    @classmethod
    def unpacked(cls, pairs: Iterable[tuple[int, int]]) -> Histogram:
        """The histogram that `packed` gave.

        Raises:
            ProtocolError: Indices are not ascending or out of range, or counts are not positive or absurdly great:
                pairs come from a component.
        """
        histogram = cls()
        last, total = -1, 0
        for index, times in pairs:
            total += times
            if not last < index < _BUCKETS or times < 1 or total > _MOST_RECORDS:
                raise ProtocolError(
                    "histogram that no histogram packs to",
                    expected=f"ascending buckets below {_BUCKETS} with positive counts",
                    actual=f"bucket {index} after {last}, count {times}",
                )
            histogram._counts[index] = times
            last = index
        return histogram
