"""A zone covers every sample that it touches, in each format and turn; what keeps holds whole boxes only."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from veilbox.core.frame import PIXEL_FORMATS, FrameLayout
from veilbox.core.zones import Point, Zone
from veilbox.vision.redact import Samples, Zones, planes_of

# Odd sizes, so that the last chroma sample covers half a pixel pair.
WIDTH, HEIGHT = 97, 75
FORMATS = sorted(PIXEL_FORMATS)
WHOLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def layout(name: str = "gray") -> FrameLayout:
    return FrameLayout(pixel_format=name, width=WIDTH, height=HEIGHT)


def frame(of: FrameLayout) -> list[Samples]:
    """Every sample as far from black as its format allows."""
    buffer = bytearray(b"\xff" * of.nbytes)
    planes = planes_of(memoryview(buffer), of)
    for plane in planes:
        plane[...] = (1 << of.format.depth) - 1
    return planes


def covered(points: tuple[Point, ...], name: str = "gray", rotation: int = 0) -> list[NDArray[np.bool_]]:
    """For each plane, which samples changed."""
    of = layout(name)
    planes, before = frame(of), frame(of)
    Zones([Zone(points=points)], of, rotation).hide(planes, full_range=True)
    return [(plane != old).any(axis=2) for plane, old in zip(planes, before, strict=True)]


def inside(points: tuple[Point, ...], x: float, y: float) -> bool:
    """By the winding of the corners around a point."""
    turn = 0.0
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        first, second = math.atan2(ay - y, ax - x), math.atan2(by - y, bx - x)
        turn += (second - first + math.pi) % math.tau - math.pi
    return abs(turn) > math.pi


@st.composite
def polygons(draw: st.DrawFn) -> tuple[Point, ...]:
    """Corners at rising turns around a middle, which never cross; many are hollow."""
    # Three at thirds, or the way back from the last to the first could pass behind the middle.
    turns = [turn / 60 for turn in {0, 20, 40, *draw(st.sets(st.integers(0, 59), max_size=7))}]
    x, y = draw(st.floats(0.3, 0.7)), draw(st.floats(0.3, 0.7))
    reach = [draw(st.floats(0.1, 0.29)) for _ in turns]
    return tuple(
        (x + r * math.cos(t * math.tau), y + r * math.sin(t * math.tau))
        for t, r in zip(sorted(turns), reach, strict=True)
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_whole_picture_is_covered_to_its_last_sample(name: str, rotation: int) -> None:
    assert all(mask.all() for mask in covered(WHOLE, name, rotation))


@settings(deadline=None, max_examples=60)
@given(points=polygons())
def test_every_pixel_in_it_is_covered_and_none_beyond_its_border(points: tuple[Point, ...]) -> None:
    (mask,) = covered(points)
    pixels = tuple((x * WIDTH, y * HEIGHT) for x, y in points)
    for row, column in np.ndindex(mask.shape):
        if inside(pixels, column + 0.5, row + 0.5):
            assert mask[row, column]
        elif mask[row, column]:
            assert _distance(pixels, column + 0.5, row + 0.5) <= 2.2


def _distance(points: tuple[Point, ...], x: float, y: float) -> float:
    """Of a point from the nearest side."""
    found = []
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        length = (bx - ax) ** 2 + (by - ay) ** 2
        along = min(1.0, max(0.0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length))
        found.append(math.hypot(ax + along * (bx - ax) - x, ay + along * (by - ay) - y))
    return min(found)


@settings(deadline=None, max_examples=30)
@given(points=polygons(), name=st.sampled_from(FORMATS))
def test_chroma_is_covered_wherever_luma_is(points: tuple[Point, ...], name: str) -> None:
    first, *others = covered(points, name)
    for mask, plane in zip(others, layout(name).format.planes[1:], strict=True):
        rows, columns = np.nonzero(first)
        assert mask[rows >> plane.y_shift, columns >> plane.x_shift].all()


CORNER = ((0.0, 0.0), (0.4, 0.0), (0.4, 0.2), (0.0, 0.2))
# Where the upper left of what a viewer sees lies in the coded frame.
TURNED = {0: (0, 0), 90: (0, WIDTH - 1), 180: (HEIGHT - 1, WIDTH - 1), 270: (HEIGHT - 1, 0)}


@pytest.mark.parametrize("rotation", TURNED)
def test_zones_lie_where_a_viewer_sees_them(rotation: int) -> None:
    (mask,) = covered(CORNER, rotation=rotation)
    assert mask[TURNED[rotation]]
    assert {place for turn, place in TURNED.items() if mask[place]} == {TURNED[rotation]}
    wide, high = (HEIGHT, WIDTH) if rotation in (90, 270) else (WIDTH, HEIGHT)
    assert mask.sum() == pytest.approx((0.4 * wide + 1) * (0.2 * high + 1), rel=0.12)


def test_opacity_stays() -> None:
    of = layout("rgba")
    planes = frame(of)
    Zones([Zone(points=WHOLE)], of, 0).hide(planes, full_range=True)
    assert (planes[0][..., :3] == 0).all()
    assert (planes[0][..., 3] == 255).all()


@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_hidden_is_told_from_what_is_not(name: str, full_range: bool) -> None:
    of = layout(name)
    zones = Zones([Zone(points=CORNER)], of, 0)
    planes = frame(of)
    assert zones.shown(planes, full_range=full_range) > 0.8
    zones.hide(planes, full_range=full_range)
    assert zones.shown(planes, full_range=full_range) == 0


L_SHAPE = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.4), (0.4, 0.4), (0.4, 0.9), (0.1, 0.9))
HELD = {
    "in one arm": ((12, 12, 80, 28), True),
    "in the other arm": ((12, 12, 30, 60), True),
    "across the corner that is not its": ((12, 12, 80, 60), False),
    "half outside": ((2, 12, 40, 28), False),
    "around it": ((-10, -10, 200, 200), False),
    "beside it": ((60, 50, 80, 70), False),
    "far outside of the frame": ((-50, -50, -20, -20), False),
}


@pytest.mark.parametrize("what", HELD)
def test_only_what_lies_wholly_inside_is_kept(what: str) -> None:
    box, held = HELD[what]
    zones = Zones([Zone(points=L_SHAPE, keep=True)], layout(), 0)
    assert zones.keeps(np.array([box], np.float32)).tolist() == [held]
    assert not zones.hide_any
    assert zones.shown(frame(layout()), full_range=True) == 0


def test_two_zones_that_keep_are_no_larger_one() -> None:
    halves = [
        Zone(points=((0, 0), (0.5, 0), (0.5, 1), (0, 1)), keep=True),
        Zone(points=((0.5, 0), (1, 0), (1, 1), (0.5, 1)), keep=True),
    ]
    zones = Zones(halves, layout(), 0)
    assert zones.keeps(np.array([[10, 10, 40, 40], [60, 10, 90, 40], [30, 10, 60, 40]], np.float32)).tolist() == [
        True,
        True,
        False,
    ]


@settings(deadline=None, max_examples=100)
@given(
    points=polygons(),
    box=st.tuples(st.floats(0, 80), st.floats(0, 60), st.floats(1, 40), st.floats(1, 40)),
)
def test_every_pixel_of_a_kept_box_lies_in_the_zone(
    points: tuple[Point, ...], box: tuple[float, float, float, float]
) -> None:
    x, y, wide, high = box
    kept = Zones([Zone(points=points, keep=True)], layout(), 0).keeps(
        np.array([[x, y, x + wide, y + high]], np.float32)
    )
    pixels = tuple((px * WIDTH, py * HEIGHT) for px, py in points)
    grid = [(x + wide * i / 8, y + high * j / 8) for i in range(9) for j in range(9)]
    if kept[0]:
        assert all(inside(pixels, px, py) or _distance(pixels, px, py) < 1e-3 for px, py in grid)
    else:  # a corner of the polygon that sticks into the box may be finer than the grid
        corner = any(x <= px <= x + wide and y <= py <= y + high for px, py in pixels)
        assert corner or not all(inside(pixels, *point) for point in grid)
