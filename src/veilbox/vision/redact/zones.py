"""Zones in the pixels of a stream's coded frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from veilbox.core.frame import FrameLayout, Plane
from veilbox.core.zones import Zone
from veilbox.vision.redact.area import Window
from veilbox.vision.redact.planes import Samples
from veilbox.vision.redact.redactor import black, colour_count

_Corners = NDArray[np.float64]
# Steps along a side, in pixels: every pixel that a side passes through by more than this is met.
_STEP = 0.25


class Zones:
    """What one camera's zones say about one stream's frames.

    A hidden zone is black in every style: what lies there never changes, so a mean of it says as much in each frame.

    Args:
        zones: Those of the camera.
        layout: The coded frame's.
        rotation: Degrees by which a viewer turns the coded frame, as in `StreamInfo`.
    """

    def __init__(self, zones: Iterable[Zone], layout: FrameLayout, rotation: int) -> None:
        self._layout = layout
        placed = [(zone.keep, _placed(zone, layout, rotation)) for zone in zones]
        self._kept = [corners for keep, corners in placed if keep]
        hidden = [corners for keep, corners in placed if not keep]
        self._masks = _masks(hidden, layout) if hidden else []

    @property
    def hide_any(self) -> bool:
        """Whether there is a zone that is hidden."""
        return bool(self._masks)

    @property
    def hidden(self) -> list[tuple[Window, NDArray[np.bool_]]]:
        """For each plane a window, and which samples in it are hidden; empty if there are none."""
        return self._masks

    def hide(self, planes: Sequence[Samples], *, full_range: bool) -> None:
        """Black out the hidden zones, in place.

        Args:
            planes: Of a frame of the layout, writable.
            full_range: As in `Redactor.redact`.
        """
        pixel_format = self._layout.format
        for index, (window, mask) in enumerate(self._masks):
            target = planes[index][window.slices][..., : colour_count(pixel_format, index)]
            np.copyto(target, black(pixel_format, index, full_range=full_range), where=mask[..., None])

    def shown(self, planes: Sequence[Samples], *, full_range: bool) -> float:
        """How far the hidden zones are from hidden.

        Returns:
            How much brighter than black the first plane's samples in them are in the mean, in shares of the full
            scale.
        """
        if not self._masks:
            return 0.0
        window, mask = self._masks[0]
        pixel_format = self._layout.format
        seen = planes[0][window.slices][..., : colour_count(pixel_format, 0)][mask].astype(np.int32)
        dark = black(pixel_format, 0, full_range=full_range)
        return float(np.maximum(seen - dark, 0).mean()) / ((1 << pixel_format.depth) - 1)

    def keeps(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each box lies wholly in one zone that keeps.

        Args:
            boxes: (N, 4) xyxy in pixels of the coded frame.

        Returns:
            (N,).
        """
        kept = np.zeros(len(boxes), np.bool_)
        for corners in self._kept:
            kept |= _hold(corners, boxes.astype(np.float64))
        return kept


def _placed(zone: Zone, layout: FrameLayout, rotation: int) -> _Corners:
    """(P, 2) corners in pixels of the coded frame; the inverse of the viewer's turn."""
    x, y = np.array(zone.shares, np.float64).T
    turned = {0: (x, y), 90: (1 - y, x), 180: (1 - x, 1 - y), 270: (y, 1 - x)}[rotation]
    return np.stack(turned, axis=1) * (layout.width, layout.height)


def _sides(corners: _Corners) -> tuple[_Corners, _Corners]:
    return corners, np.roll(corners, -1, axis=0)


def _masks(polygons: Sequence[_Corners], layout: FrameLayout) -> list[tuple[Window, NDArray[np.bool_]]]:
    """For each plane the samples that a polygon touches, within the window that holds them all."""
    joint = np.concatenate(polygons)
    x1, y1 = np.maximum(np.floor(joint.min(axis=0)).astype(int) - 1, 0).tolist()
    x2, y2 = (np.ceil(joint.max(axis=0)).astype(int) + 1).tolist()
    # On even borders, so that a sample of every plane stands for pixels inside or outside, never both.
    x1, y1 = x1 - x1 % 4, y1 - y1 % 4
    x2, y2 = min(x2, layout.width), min(y2, layout.height)
    pixels = np.zeros((y2 - y1, x2 - x1), np.bool_)
    for corners in polygons:
        pixels |= _touched(corners - (x1, y1), pixels.shape)
    return [_reduced(pixels, x1, y1, plane) for plane in layout.format.planes]


def _touched(corners: _Corners, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels whose middle lies in a polygon, those that its sides pass through, and one more around them."""
    rows, columns = shape
    inside = np.zeros((rows, columns), np.bool_)
    middles = np.arange(columns) + 0.5
    for (ax, ay), (bx, by) in zip(*_sides(corners), strict=True):
        if ay == by:
            continue
        first, last = (int(np.clip(np.ceil(end - 0.5), 0, rows)) for end in sorted((ay, by)))
        crossing = ax + (np.arange(first, last) + 0.5 - ay) * (bx - ax) / (by - ay)
        inside[first:last] ^= middles > crossing[:, None]
    _draw(inside, corners)
    return _grown(inside)


def _draw(pixels: NDArray[np.bool_], corners: _Corners) -> None:
    rows, columns = pixels.shape
    for start, end in zip(*_sides(corners), strict=True):
        steps = np.linspace(0, 1, 2 + int(np.hypot(*(end - start)) / _STEP))[:, None]
        x, y = np.floor(start + steps * (end - start)).astype(np.intp).T
        pixels[np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)] = True


def _grown(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    for axis in (0, 1):
        wide = pixels.copy()
        ahead, behind = (slice(1, None), slice(None, -1))
        if axis:
            wide[:, ahead] |= pixels[:, behind]
            wide[:, behind] |= pixels[:, ahead]
        else:
            wide[ahead] |= pixels[behind]
            wide[behind] |= pixels[ahead]
        pixels = wide
    return pixels


def _reduced(pixels: NDArray[np.bool_], left: int, top: int, plane: Plane) -> tuple[Window, NDArray[np.bool_]]:
    """The same for a plane's samples: one counts if one of its pixels does."""
    wide, high = 1 << plane.x_shift, 1 << plane.y_shift
    rows, columns = -(-pixels.shape[0] // high), -(-pixels.shape[1] // wide)
    padded = np.zeros((rows * high, columns * wide), np.bool_)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    mask = np.asarray(padded.reshape(rows, high, columns, wide).any(axis=(1, 3)), np.bool_)
    x, y = left >> plane.x_shift, top >> plane.y_shift
    return Window(columns=(x, x + columns), rows=(y, y + rows)), mask


def _hold(corners: _Corners, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a polygon holds each box: its middle lies inside, and no side passes through it."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = np.zeros(len(boxes), np.bool_)
    cut = np.zeros(len(boxes), np.bool_)
    for start, end in zip(*_sides(corners), strict=True):
        inside ^= _left_of(start, end, middles)
        cut |= _cuts(start, end, boxes)
    held: NDArray[np.bool_] = inside & ~cut
    return held


def _left_of(start: NDArray[np.float64], end: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a ray to the right from each point crosses a side."""
    between = (start[1] > points[:, 1]) != (end[1] > points[:, 1])
    rise = float(end[1] - start[1]) or 1.0  # a level side is between nothing
    at = start[0] + (points[:, 1] - start[1]) * (end[0] - start[0]) / rise
    crossed: NDArray[np.bool_] = between & (points[:, 0] < at)
    return crossed


def _cuts(start: NDArray[np.float64], end: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a side has a part within each box (Liang and Barsky, 1984)."""
    enters, leaves = np.zeros(len(boxes)), np.ones(len(boxes))
    for axis in (0, 1):
        way = end[axis] - start[axis]
        low, high = boxes[:, axis] - start[axis], boxes[:, axis + 2] - start[axis]
        if way == 0:
            leaves = np.where((low < 0) & (high > 0), leaves, -1.0)
            continue
        ends = np.sort(np.stack((low, high)) / way, axis=0)
        enters, leaves = np.maximum(enters, ends[0]), np.minimum(leaves, ends[1])
    cut: NDArray[np.bool_] = enters < leaves
    return cut
