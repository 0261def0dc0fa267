"""A soft border around what is hidden: outside of every core only, so that no hidden sample is weakened."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilbox.core.frame import Plane
from veilbox.vision.redact.area import Area, Window
from veilbox.vision.redact.planes import Samples


def ring(outline: Area, pixels: int) -> Area:
    """An area grown by so many pixels on each side."""
    return Area(outline.x1 - pixels, outline.y1 - pixels, outline.x2 + pixels, outline.y2 + pixels)


def box_fade(outline: Area, window: Window, plane: Plane, pixels: int) -> NDArray[np.float32]:
    """How much of the cover shows around a box.

    Args:
        outline: The box, in pixels of the frame.
        window: Samples of a plane.
        plane: The plane.
        pixels: Width of the border, at least 1.

    Returns:
        (rows, columns) float32: 1 in the box, falling to 0 at a distance of `pixels` from it.
    """
    x = _beyond(window.columns, plane.x_shift, outline.x1, outline.x2)
    y = _beyond(window.rows, plane.y_shift, outline.y1, outline.y2)
    return _fade(np.hypot(x, y[:, None]) / pixels)


def ellipse_fade(outline: Area, window: Window, plane: Plane, pixels: int) -> NDArray[np.float32]:
    """Likewise around the ellipse that fills an area; distances are those along its radius."""
    x = _from_centre(window.columns, plane.x_shift, outline.x1, outline.x2)
    y = _from_centre(window.rows, plane.y_shift, outline.y1, outline.y2)
    axes = (outline.x2 - outline.x1) / 2, (outline.y2 - outline.y1) / 2
    reach = np.hypot(x / axes[0], y[:, None] / axes[1])
    length = np.hypot(x, y[:, None])
    return _fade(length * (1 - 1 / np.maximum(reach, 1)) / pixels)


def blend(samples: Samples, cover: Samples | int, fade: NDArray[np.float32], free: NDArray[np.bool_]) -> None:
    """Lay a cover over samples, in place.

    Args:
        samples: (R, C, K).
        cover: (R, C, K), or one value.
        fade: (R, C), the cover's share.
        free: (R, C), where samples may change.
    """
    old = samples.astype(np.float32)
    mixed = old + (np.asarray(cover, np.float32) - old) * fade[..., None]
    np.copyto(samples, np.rint(mixed).astype(samples.dtype), where=(free & (fade > 0))[..., None])


def padded(cover: Samples, inner: Window, outer: Window) -> Samples:
    """A cover stretched from one window to a larger one: its edge goes on."""
    rows = inner.rows[0] - outer.rows[0], outer.rows[1] - inner.rows[1]
    columns = inner.columns[0] - outer.columns[0], outer.columns[1] - inner.columns[1]
    wide: NDArray[Any] = np.pad(cover, (rows, columns, (0, 0)), mode="edge")
    return wide


def border_pixels(core: Area, share: float) -> int:
    """Width of the border of an area, pixels of the frame."""
    return math.ceil(core.longer_side * share)


def _fade(distance: NDArray[np.float64]) -> NDArray[np.float32]:
    fade: NDArray[np.float32] = np.clip(1 - distance, 0, 1).astype(np.float32)
    return fade


def _middles(samples: tuple[int, int], shift: int) -> NDArray[np.float64]:
    middles: NDArray[np.float64] = (np.arange(*samples) << shift).astype(np.float64) + (1 << shift) / 2
    return middles


def _beyond(samples: tuple[int, int], shift: int, low: int, high: int) -> NDArray[np.float64]:
    """Distance of each sample's middle from an interval, pixels of the frame."""
    middles = _middles(samples, shift)
    below: NDArray[np.float64] = np.maximum(low - middles, middles - high)
    distances: NDArray[np.float64] = np.maximum(below, 0)
    return distances


def _from_centre(samples: tuple[int, int], shift: int, low: int, high: int) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = np.abs(_middles(samples, shift) - (low + high) / 2)
    return distances
