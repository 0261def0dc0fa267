"""From boxes with fractions of pixels to whole pixels of the frame, and from those to the samples of a plane."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from veilbox.core.errors import ProtocolError
from veilbox.core.frame import FrameLayout, Plane
from veilbox.core.frozen import frozen

# Around a rectangle, the smallest ellipse of the same proportions has its semi-axes longer by this factor.
_CIRCUMSCRIBED = math.sqrt(2)
# Boxes of which the smaller lies in the larger by half or more are taken for one face: redacted apart, their two
# grids of cells would say more about it than one may.
_ONE_FACE = 0.5
# No frame reaches so far; a box that does is cut here before it becomes an integer.
_FAR = 1 << 20


@frozen(kw_only=False)
class Area:
    """A part of the frame to hide, in whole pixels, half-open; it may reach outside the frame."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def longer_side(self) -> int:
        """Pixels, of the whole area, also of what lies outside the frame."""
        return max(self.x2 - self.x1, self.y2 - self.y1)

    @property
    def circumscribed(self) -> Area:
        """The pixels that the ellipse around this area touches."""
        x = (self.x2 - self.x1) * (_CIRCUMSCRIBED - 1) / 2
        y = (self.y2 - self.y1) * (_CIRCUMSCRIBED - 1) / 2
        return Area(math.floor(self.x1 - x), math.floor(self.y1 - y), math.ceil(self.x2 + x), math.ceil(self.y2 + y))

    def touches(self, layout: FrameLayout) -> bool:
        """Whether any pixel of the frame lies inside."""
        return self.x1 < layout.width and self.y1 < layout.height and self.x2 > 0 and self.y2 > 0

    def window(self, plane: Plane, layout: FrameLayout) -> Window:
        """The samples of a plane that the area touches, at least partly."""
        return Window(
            columns=_shifted(max(self.x1, 0), min(self.x2, layout.width), plane.x_shift),
            rows=_shifted(max(self.y1, 0), min(self.y2, layout.height), plane.y_shift),
        )


@frozen(kw_only=False)
class Window:
    """Samples of one plane, half-open, inside it.

    Attributes:
        columns: First and behind the last.
        rows: Likewise.
    """

    columns: tuple[int, int]
    rows: tuple[int, int]

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the window in its plane."""
        return slice(*self.rows), slice(*self.columns)


def _shifted(low: int, high: int, shift: int) -> tuple[int, int]:
    return low >> shift, -(-high >> shift)


def whole_pixels(boxes: NDArray[np.float32], *, margin: float, smallest: int) -> NDArray[np.int64]:
    """Boxes with margin, rounded outwards.

    Args:
        boxes: (N, 4) float32, xyxy in pixels of the frame, half-open.
        margin: Added on each side, as a share of the width and of the height.
        smallest: Sides of the result. What a narrower box lacks is added on both sides, so that it also has it when
            one side lies outside the frame.

    Returns:
        (N, 4) int64, at least `smallest` pixels wide and high.

    Raises:
        ProtocolError: A box is not finite: what it would hide is unknown.
    """
    if not np.isfinite(boxes).all():
        raise ProtocolError("a region is not finite")
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    extent = (high - low) * margin
    first = np.clip(np.floor(low - extent), -_FAR, _FAR).astype(np.int64)
    last = np.clip(np.ceil(high + extent), -_FAR, _FAR).astype(np.int64)
    last = np.maximum(last, first + 1)
    lacking = np.maximum(smallest - (last - first), 0)
    return np.concatenate((first - lacking, last + lacking), axis=1)


def joined(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Boxes of one face made one.

    Args:
        boxes: (N, 4) int64, xyxy, none empty.

    Returns:
        (M, 4) int64 whose union holds all boxes; of no two does the smaller lie in the other by half or more.
    """
    while len(boxes) > 1:
        pair = _most_shared_pair(boxes)
        if pair is None:
            break
        first, second = boxes[pair[0]], boxes[pair[1]]
        hull = np.concatenate((np.minimum(first[:2], second[:2]), np.maximum(first[2:], second[2:])))
        boxes = np.concatenate((np.delete(boxes, pair, axis=0), hull[None]))
    return boxes


def _most_shared_pair(boxes: NDArray[np.int64]) -> tuple[int, int] | None:
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    share = np.triu(shared / np.minimum(areas[:, None], areas[None]), k=1)
    first, second = divmod(int(share.argmax()), len(boxes))
    return (first, second) if share[first, second] >= _ONE_FACE else None


def ellipse_mask(core: Area, window: Window, plane: Plane) -> NDArray[np.bool_]:
    """Which samples of a window the ellipse around an area touches.

    A sample counts by the point of it that is nearest to the centre, so that every sample that touches the area
    itself is inside.

    Returns:
        (rows, columns) of the window.
    """
    x = _distances(window.columns, plane.x_shift, core.x1, core.x2)
    y = _distances(window.rows, plane.y_shift, core.y1, core.y2)
    inside: NDArray[np.bool_] = x**2 <= 1 - y[:, None] ** 2
    return inside


def _distances(samples: tuple[int, int], shift: int, low: int, high: int) -> NDArray[np.float64]:
    """Distance of each sample's nearest point from the centre, in semi-axes of the ellipse."""
    start = np.arange(*samples) << shift
    nearest = np.minimum(np.maximum((low + high) / 2, start), start + (1 << shift))
    distances: NDArray[np.float64] = np.abs(nearest - (low + high) / 2) / ((high - low) / 2 * _CIRCUMSCRIBED)
    return distances
