"""Bringing the clocks of two kernels together.

Every process of a machine reads the same CLOCK_MONOTONIC, but a kernel of its own (gVisor, a virtual machine) counts
from its own start. CLOCK_REALTIME is the same for all, so the distance between the two clocks tells one kernel's
monotonic time from another's.
"""

from __future__ import annotations

import time

# Two readings in a row lie microseconds apart, milliseconds if the process is interrupted between them; kernels start
# tenths of a second apart at least.
_SAME_NS = 10_000_000


def distance_ns() -> int:
    """From CLOCK_MONOTONIC to CLOCK_REALTIME in this kernel; never 0."""
    return (time.time_ns() - time.monotonic_ns()) or 1


def shift_ns(theirs: int, ours: int) -> int:
    """What to add to a monotonic time of theirs to have it in ours.

    Args:
        theirs: Their `distance_ns`; 0 if they did not tell.
        ours: Ours, likewise.

    Returns:
        Nanoseconds; 0 where both read the same clock.
    """
    shift = theirs - ours if theirs and ours else 0
    return shift if abs(shift) > _SAME_NS else 0
