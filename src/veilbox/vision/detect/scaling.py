"""A picture made smaller, without a library: a detector's image holds none that does it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def shrunk(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The picture at a smaller size.

    Each sample is a weighted mean of all samples that it stands for (a triangle as wide as two of its steps), so fine
    patterns turn grey instead of coarse.

    Args:
        picture: (rows, columns, 3) uint8.
        width: New columns, 1 to the old ones.
        height: New rows, 1 to the old ones.

    Returns:
        (height, width, 3) uint8, contiguous; the same array where nothing changes.
    """
    rows, columns, _ = picture.shape
    if (columns, rows) == (width, height):
        return picture
    tall = _averaged(picture, height)
    wide = _averaged(tall.transpose(1, 0, 2), width).transpose(1, 0, 2)
    return np.ascontiguousarray(np.rint(wide).astype(np.uint8))


def _averaged(samples: NDArray[np.uint8] | NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The first axis brought down to `count` samples."""
    if len(samples) == count:
        return samples.astype(np.float32)
    places, weights = _taps(len(samples), count)
    result = np.zeros((count, *samples.shape[1:]), np.float32)
    for place, weight in zip(places.T, weights.T, strict=True):
        result += samples[place] * weight[:, None, None]
    return result


def _taps(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Which old samples make each new one, and with which weights; both (new, taps), weights sum to 1."""
    step = old / new
    middle = (np.arange(new) + 0.5) * step - 0.5
    first = np.ceil(middle - step).astype(np.intp)
    places = first[:, None] + np.arange(math.floor(2 * step) + 1)
    weights = np.maximum(1 - np.abs(places - middle[:, None]) / step, 0)
    weights[(places < 0) | (places >= old)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return np.clip(places, 0, old - 1), weights.astype(np.float32)
