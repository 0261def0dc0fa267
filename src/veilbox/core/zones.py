"""Parts of a camera's picture that are always hidden, or in which nothing is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TypeVar

from veilbox.core.errors import UsageError
from veilbox.core.frozen import frozen

Point = tuple[float, float]
_Number = TypeVar("_Number", int, float)

# Enough for a street front by hand; each is drawn once for every source.
MAX_ZONES = 64
MAX_POINTS = 64
# Sides of a picture; as in `core.frame`.
_MAX_SIDE = 65_535


@frozen
class Zone:
    """A polygon in the picture as a viewer sees it.

    Attributes:
        points: Its corners in order, x before y, from the upper left; shares of width and height, 0 to 1, or pixels
            of a picture of `size`. No two sides may cross.
        size: Columns and rows of the picture whose pixels the points are; None if they are shares. A picture of
            another size is covered in the same shares.
        camera: For which sources: a pattern of the whole path as it was given, `*` for any characters, `/` too.
        keep: Nothing that lies wholly inside is hidden, unless it also lies in a zone that is.
    """

    points: tuple[Point, ...]
    size: tuple[int, int] | None = None
    camera: str = "*"
    keep: bool = False

    def __post_init__(self) -> None:
        if not 3 <= len(self.points) <= MAX_POINTS:
            raise _refused("corners", f"3 to {MAX_POINTS}", str(len(self.points)))
        if self.size is not None and not all(1 <= side <= _MAX_SIDE for side in self.size):
            raise _refused("size", f"1 to {_MAX_SIDE} pixels", f"{self.size[0]}x{self.size[1]}")
        outside = [point for point in self.shares if not all(0 <= part <= 1 for part in point)]
        if outside:
            raise _refused("a corner outside of the picture", "shares of 0 to 1, or a size", str(self.points))
        if _area(self.shares) <= 0 or _crosses_itself(self.shares):
            raise _refused("no polygon", "corners in order, around an area", str(self.points))

    @property
    def shares(self) -> tuple[Point, ...]:
        """The corners as shares of width and height."""
        width, height = self.size or (1, 1)
        return tuple((x / width, y / height) for x, y in self.points)

    def watches(self, source: str) -> bool:
        """Whether it is for a source of that path."""
        return fnmatchcase(source, self.camera)


def _refused(what: str, expected: str, actual: str) -> UsageError:
    return UsageError(f"not a zone: {what}", where="--zone", expected=expected, actual=actual)


def _area(points: tuple[Point, ...]) -> float:
    """By the shoelace formula; NaN compares as no area."""
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in _sides(points))) / 2


def _sides(points: tuple[Point, ...]) -> list[tuple[Point, Point]]:
    return list(itertools.pairwise((*points, points[0])))


def _crosses_itself(points: tuple[Point, ...]) -> bool:
    """Whether two sides that are no neighbours meet: what lies inside would be a matter of opinion."""
    sides = _sides(points)
    pairs = itertools.combinations(range(len(sides)), 2)
    apart = (pair for pair in pairs if pair[1] - pair[0] not in (1, len(sides) - 1))
    return any(_meet(sides[first], sides[second]) for first, second in apart)


def _meet(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    parted = _turn(*one, other[0]) * _turn(*one, other[1]) > 0 or _turn(*other, one[0]) * _turn(*other, one[1]) > 0
    return not parted and _near(one, other)


def _near(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Whether their boxes touch: sides on one line meet only there."""
    return all(
        max(min(one[0][axis], one[1][axis]), min(other[0][axis], other[1][axis]))
        <= min(max(one[0][axis], one[1][axis]), max(other[0][axis], other[1][axis]))
        for axis in (0, 1)
    )


def _turn(a: Point, b: Point, c: Point) -> float:
    """The sign says on which side of the line from a to b the point c lies."""
    turn = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return math.copysign(1.0, turn) if turn else 0.0


def parse_zone(text: str) -> Zone:
    """A zone as the command line spells it: `[keep] [WIDTHxHEIGHT] X,Y X,Y X,Y...`.

    Raises:
        UsageError: It is none.
    """
    words = text.split()
    keep = words[:1] == ["keep"]
    rest = words[1:] if keep else words
    sized = bool(rest) and "x" in rest[0]
    try:
        size = _pair(rest[0], "x", int) if sized else None
        points = tuple(_pair(word, ",", float) for word in rest[sized:])
    except ValueError as error:
        raise _refused("unreadable", "[keep] [WIDTHxHEIGHT] X,Y X,Y X,Y...", text) from error
    return Zone(points=points, size=size, keep=keep)


def _pair(word: str, between: str, kind: Callable[[str], _Number]) -> tuple[_Number, _Number]:
    first, second = word.split(between)
    return kind(first), kind(second)
