"""What a component tells of exposure is bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from veilbox.core.errors import ProtocolError
from veilbox.core.exposure import KINDS, MOST_BINS, MOST_DRAWN, MOST_WEAK, Exposure, TrackExposure

NUMBERS = ("track", "first", "last", "detected", "interpolated", "ahead", "behind", "gaps", "longest_gap")


def track(**words: Any) -> TrackExposure:
    fields: dict[str, Any] = dict.fromkeys(NUMBERS, 1) | {"label": "face", "best": 0.9, "weakest": 0.5} | words
    return TrackExposure(**fields)


# What cannot be -> how somebody would say it.
BAD: dict[str, Callable[[], object]] = {
    "a negative number": lambda: track(gaps=-1),
    "a score above one": lambda: track(best=1.1),
    "a score that is none": lambda: track(weakest=float("nan")),
    "the lowest above the best": lambda: track(weakest=0.95),
    "other kinds": lambda: Exposure(frames={"seen": 1}),
    "a kind missing": lambda: Exposure(frames=dict.fromkeys(KINDS[:3], 1)),
    "a negative count": lambda: Exposure(short=-1),
    "scores without end": lambda: Exposure(scores=(0,) * 21),
    "too many weak tracks": lambda: Exposure(weakest=(track(),) * (MOST_WEAK + 1)),
    "too many drawn tracks": lambda: Exposure(drawn=(track(),) * (MOST_DRAWN + 1)),
    "a film without end": lambda: Exposure(bins=((0, 0, 0, 0),) * (MOST_BINS + 1)),
    "parts of no frame": lambda: Exposure(bin_frames=0),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_what_cannot_be_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ProtocolError):
        make()


def test_every_class_that_it_names_can_be_checked() -> None:
    told = Exposure(weakest=(track(label="face"),), drawn=(track(label="plate"),))
    assert told.labels == {"face", "plate"}
