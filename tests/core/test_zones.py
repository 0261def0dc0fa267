"""Zones are polygons in a picture, in shares or pixels; what is none is refused before a job starts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.errors import UsageError
from veilbox.core.policy import Policy
from veilbox.core.zones import MAX_POINTS, MAX_ZONES, Zone, parse_zone

SQUARE = ((0.25, 0.5), (0.75, 0.5), (0.75, 1.0), (0.25, 1.0))

SPELLED = {
    "shares": ("0.25,0.5 0.75,0.5 0.75,1 0.25,1", Zone(points=SQUARE)),
    "one that keeps": ("keep 0.25,0.5 0.75,0.5 0.75,1 0.25,1", Zone(points=SQUARE, keep=True)),
    "pixels": (
        "400x200 100,100 300,100 300,200 100,200",
        Zone(points=((100, 100), (300, 100), (300, 200), (100, 200)), size=(400, 200)),
    ),
    "pixels that keep": ("keep 4x4 1,1 3,1 2,3", Zone(points=((1, 1), (3, 1), (2, 3)), size=(4, 4), keep=True)),
}


@pytest.mark.parametrize("text", SPELLED)
def test_a_zone_is_spelled(text: str) -> None:
    said, zone = SPELLED[text]
    assert parse_zone(said) == zone


def test_pixels_are_shares_of_the_picture_that_they_were_taken_from() -> None:
    assert parse_zone(SPELLED["pixels"][0]).shares == SQUARE


REFUSED = {
    "nothing": "",
    "a line": "0,0 1,1",
    "no area": "0,0 0.5,0.5 1,1",
    "a corner outside": "0,0 1.5,0 1,1",
    "a corner left of it": "-0.1,0 1,0 1,1",
    "pixels without a size": "0,0 640,0 640,480",
    "pixels beyond the size": "640x480 0,0 641,0 640,480",
    "a size of nothing": "0x480 0,0 1,0 1,1",
    "two sides that cross": "0,0 1,1 1,0 0,1",
    "a side on another": "0,0 1,0 1,1 0.5,0 0,1",
    "a corner that is no number": "nan,0 1,0 1,1",
    "words": "left half",
    "three coordinates": "0,0,0 1,0,0 1,1,0",
    "too many corners": " ".join(
        f"{0.5 + 0.4 * math.cos(turn / 65 * math.tau)},{0.5 + 0.4 * math.sin(turn / 65 * math.tau)}"
        for turn in range(MAX_POINTS + 1)
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_zone_is_refused(what: str) -> None:
    with pytest.raises(UsageError, match="not a zone") as refused:
        parse_zone(REFUSED[what])
    assert refused.value.where == "--zone"


def test_a_policy_has_so_many_zones_and_no_more() -> None:
    assert len(Policy(zones=(Zone(points=SQUARE),) * MAX_ZONES).zones) == MAX_ZONES
    with pytest.raises(UsageError, match="too many"):
        Policy(zones=(Zone(points=SQUARE),) * (MAX_ZONES + 1))


def test_each_camera_has_its_own() -> None:
    zones = tuple(Zone(points=SQUARE, camera=camera) for camera in ("*", "yard/*", "*.mkv", "yard/[12].mp4"))
    policy = Policy(zones=zones)
    assert policy.zones_of("yard/1.mp4") == (0, 1, 3)
    assert policy.zones_of("/data/yard/1.mkv") == (0, 2)
    assert policy.zones_of("YARD/1.mp4") == (0,)


@pytest.mark.parametrize("keep", [False, True])
def test_a_zone_that_keeps_is_a_warning(keep: bool) -> None:
    assert Policy(zones=(Zone(points=SQUARE, keep=keep),)).warnings == (("keeps-zones",) if keep else ())


@given(
    turns=st.sets(st.integers(0, 99), min_size=3, max_size=12),
    start=st.integers(0, 11),
    back=st.booleans(),
)
def test_corners_on_a_circle_are_a_zone_from_any_corner_and_either_way(turns: set[int], start: int, back: bool) -> None:
    around = [
        (0.5 + 0.4 * math.cos(t * math.tau / 100), 0.5 + 0.4 * math.sin(t * math.tau / 100)) for t in sorted(turns)
    ]
    shift = start % len(around)
    points = tuple(around[shift:] + around[:shift])
    assert len(Zone(points=points[::-1] if back else points).shares) == len(turns)
