"""Looks at parts of a picture: a few rectangles that hold what is asked for, instead of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

from veilbox.vision.detect.looks import TILE, Look

# xyxy in pixels of the picture, half-open.
Place = tuple[float, float, float, float]

# What a model sees around a place: CenterFace's scores in such parts differ from those in whole pictures by 0.01 in the
# mean (340 faces of three films, 2026-11).
_CONTEXT = 32
# A box so near to a part's border may be half a face, and would pull its track away from the whole one.
_CLEAR = 24
# One more run of a model costs as much as so many pixels, which is less than a picture of 80x80 (CenterFace, 2026-11:
# 1.1 ms for the smallest picture, 42 ms for 640x352).
_RUN_PIXELS = 6_000
# From this share of the picture on, the whole costs no more and tells more.
_MOST = 0.5

_Rectangle = tuple[int, int, int, int]


def parts(width: int, height: int, places: Sequence[Place], *, stride: int) -> tuple[Look, ...] | None:
    """Looks that together show every place.

    Args:
        width: The picture's columns, a multiple of `stride`.
        height: Its rows, likewise.
        places: What is asked for; what reaches outside is cut off.
        stride: Of the model.

    Returns:
        Looks at full size that do not touch, none where every place is outside; None where the whole picture is as
        cheap, or a part larger than a model reads at once.
    """
    wanted = [cut for place in places if (cut := _snapped(place, width, height, stride)) is not None]
    joined = _joined(wanted)
    too_large = any(max(right - left, bottom - top) > TILE for left, top, right, bottom in joined)
    if too_large or sum(_area(one) + _RUN_PIXELS for one in joined) >= _MOST * width * height:
        return None
    return tuple(_look(one, width, height) for one in joined)


def _snapped(place: Place, width: int, height: int, stride: int) -> _Rectangle | None:
    x1, y1, x2, y2 = place
    left, top = max(0, int((x1 - _CONTEXT) // stride)), max(0, int((y1 - _CONTEXT) // stride))
    right, bottom = (
        min(side // stride, int(-((-end - _CONTEXT) // stride))) for side, end in ((width, x2), (height, y2))
    )
    if right <= left or bottom <= top:
        return None
    return left * stride, top * stride, right * stride, bottom * stride


def _joined(rectangles: Sequence[_Rectangle]) -> list[_Rectangle]:
    """Rectangles that do not touch one another; those that do, or cost less as one, become one."""
    done: list[_Rectangle] = []
    for one in rectangles:
        new = one
        while (near := next((other for other in done if _better_joined(new, other)), None)) is not None:
            done.remove(near)
            new = _hull(new, near)
        done.append(new)
    return done


def _better_joined(one: _Rectangle, other: _Rectangle) -> bool:
    touching = one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    return touching or _area(_hull(one, other)) <= _area(one) + _area(other) + _RUN_PIXELS


def _hull(one: _Rectangle, other: _Rectangle) -> _Rectangle:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _area(one: _Rectangle) -> int:
    return (one[2] - one[0]) * (one[3] - one[1])


def _look(one: _Rectangle, width: int, height: int) -> Look:
    left, top, right, bottom = one
    clear = (
        left + _CLEAR if left else -math.inf,
        top + _CLEAR if top else -math.inf,
        right - _CLEAR if right < width else math.inf,
        bottom - _CLEAR if bottom < height else math.inf,
    )
    return Look(
        left=left,
        top=top,
        width=right - left,
        height=bottom - top,
        seen_width=right - left,
        seen_height=bottom - top,
        core=(left, top, right, bottom),
        inside=clear,
    )
