"""Where in a picture a model looks, and how large: the whole at some scales, and tiles of what is too large at once.

Every point of the picture belongs to exactly one tile, and a box counts in the tile that its middle belongs to. Tiles
overlap, so a box that is no larger than the overlap lies wholly inside that tile: no box is cut, none is lost, and none
is told twice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veilbox.core.frozen import frozen

# The side of a tile and what two neighbours share, pixels. 1280 squared is as many samples as a model reads at once:
# CenterFace then holds some 400 MiB, below a detector's limit. What is wider than the overlap is found in the whole
# picture, which is looked at too, at half the size or less.
TILE = 1280
OVERLAP = 256


@frozen
class Look:
    """One part of the picture at one size.

    Attributes:
        left: First column of the part.
        top: First row.
        width: Its columns.
        height: Its rows.
        seen_width: Columns that the model reads, at most `width`, a multiple of its stride.
        seen_height: Rows that it reads, likewise.
        core: (x1, y1, x2, y2): boxes whose middle is elsewhere belong to another look; half-open.
        inside: Boxes that reach beyond it are not told: what is cut by the look's own border looks smaller than it is.
    """

    left: int
    top: int
    width: int
    height: int
    seen_width: int
    seen_height: int
    core: tuple[float, float, float, float]
    inside: tuple[float, float, float, float] = (-np.inf, -np.inf, np.inf, np.inf)

    def placed(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes in pixels of what the model read, in pixels of the picture; what lies beyond its part is cut off."""
        scale = np.array([self.width / self.seen_width, self.height / self.seen_height] * 2, np.float32)
        seen = np.array([self.seen_width, self.seen_height] * 2, np.float32)
        placed: NDArray[np.float32] = np.minimum(boxes, seen) * scale + np.array([self.left, self.top] * 2, np.float32)
        return placed

    def owns(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each box is one at all, has its middle, in pixels of the picture, in the core, and is inside."""
        own: NDArray[np.bool_] = self._here(boxes) & self._inside(boxes)
        return own

    def cuts(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each box would be owned, were it inside."""
        cut: NDArray[np.bool_] = self._here(boxes) & ~self._inside(boxes)
        return cut

    def _here(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        x1, y1, x2, y2 = self.core
        # A box of nothing has been cut off whole.
        there = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        here: NDArray[np.bool_] = there & (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
        return here

    def _inside(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        corners = np.concatenate((boxes[:, :2] >= self.inside[:2], boxes[:, 2:] <= self.inside[2:]), axis=1)
        inside: NDArray[np.bool_] = np.logical_and.reduce(corners, axis=1)
        return inside


def whole(width: int, height: int, *, longest: int, stride: int) -> Look:
    """The whole picture, at most `longest` pixels on its longer side.

    Args:
        width: The picture's columns, a multiple of `stride`.
        height: Its rows, likewise.
        longest: At least `stride`.
        stride: Sides of what the model reads are multiples of it.
    """
    shrink = min(1.0, longest / max(width, height))
    # Up, as the analysis picture's own sides are.
    seen = [math.ceil(side * shrink / stride) * stride for side in (width, height)]
    return Look(
        left=0,
        top=0,
        width=width,
        height=height,
        seen_width=min(seen[0], width),
        seen_height=min(seen[1], height),
        # A middle may lie on the last border, where a box of no width ends.
        core=(0, 0, np.inf, np.inf),
    )


def tiles(width: int, height: int, *, side: int = TILE, overlap: int = OVERLAP) -> tuple[Look, ...]:
    """The picture in parts of at most `side` pixels square, each at full size.

    Args:
        width: The picture's columns.
        height: Its rows.
        side: A multiple of the model's stride, as the picture's sides are.
        overlap: What two neighbours share at least, below `side`.
    """
    return tuple(
        Look(
            left=left,
            top=top,
            width=min(side, width),
            height=min(side, height),
            seen_width=min(side, width),
            seen_height=min(side, height),
            core=(x1, y1, x2, y2),
        )
        for (top, y1, y2), (left, x1, x2) in itertools.product(
            _spans(height, side, overlap), _spans(width, side, overlap)
        )
    )


def _spans(length: int, side: int, overlap: int) -> list[tuple[int, float, float]]:
    """Starts of the tiles along one axis, each with the stretch that is its own."""
    if length <= side:
        return [(0, 0.0, np.inf)]
    count = -(-(length - overlap) // (side - overlap))
    starts = [round(index * (length - side) / (count - 1)) for index in range(count)]
    borders = [0.0, *((left + side + right) / 2 for left, right in itertools.pairwise(starts)), np.inf]
    return [(start, borders[index], borders[index + 1]) for index, start in enumerate(starts)]


def looks(
    width: int, height: int, *, stride: int, longest: int | None = None, shares: Sequence[float] = (1.0,)
) -> tuple[Look, ...]:
    """Every look at a picture.

    Args:
        width: Its columns, a multiple of `stride`.
        height: Its rows, likewise.
        stride: The model's.
        longest: The longer side beyond which the model finds no more; None if it gains from every pixel.
        shares: Of the largest size that is of use, the sizes at which the whole is looked at. A size above `TILE` is
            looked at in tiles, and the whole at `TILE` beside them. Looks that come out the same are taken once.
    """
    largest = min(longest or max(width, height), max(width, height))
    found: dict[Look, None] = {}
    for share in shares:
        side = max(stride, round(largest * share))
        if side > TILE:
            found.update(dict.fromkeys(tiles(width, height)))
        found[whole(width, height, longest=min(side, TILE), stride=stride)] = None
    return tuple(found)
