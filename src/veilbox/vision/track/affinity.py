"""Which detection continues which track."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# From this overlap on, position alone says that two boxes are one face.
# Source: ByteTrack (Zhang et al. 2022), which rejects matches below an IoU of 0.2 in its first association.
CERTAIN_IOU = 0.2
# Without overlap a centre may be this many mean box sides away from where the track predicts it: half a side for a
# prediction's error, and a share for each frame that passed unseen. 0.35 sides a frame is a face of 12 cm across at
# 1.3 m/s and 30 frames a second (0.36): somebody walking straight across, before any speed is known.
_NEAR_SIDES = 0.5
_SIDES_PER_FRAME = 0.35
# A face does not double its side between two looks; what does is another face.
_LARGEST_GROWTH = 2.0
_BLOCKED = -np.inf


def affinities(
    predicted: NDArray[np.float32], boxes: NDArray[np.float32], unseen: NDArray[np.int64]
) -> NDArray[np.float32]:
    """How well each detection continues each track.

    Args:
        predicted: (T, 4) float32, xyxy, where each track should be now.
        boxes: (D, 4) float32, xyxy, the detections.
        unseen: (T,) frames since each track's last detection, at least 1.

    Returns:
        (T, D) float32: overlap in [0, 1] where the boxes touch, the negative distance as a share of what is
        allowed, in [-1, 0], where they are only near, and minus infinity where they cannot be one face.
    """
    sides = np.sqrt(_areas(predicted)), np.sqrt(_areas(boxes))
    mean_side = np.maximum((sides[0][:, None] + sides[1][None]) / 2, 1)
    reach = _NEAR_SIDES + _SIDES_PER_FRAME * unseen.astype(np.float32)
    distance = _centre_distances(predicted, boxes) / (mean_side * reach[:, None])
    overlaps = _overlaps(predicted, boxes)
    score = np.where(overlaps >= CERTAIN_IOU, overlaps, np.where(distance <= 1, -distance, _BLOCKED))
    allowed: NDArray[np.float32] = np.where(_alike(*sides), score, _BLOCKED).astype(np.float32)
    return allowed


def match(scores: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pair rows with columns, the best pair first.

    Args:
        scores: (T, D), minus infinity where a pair is forbidden.

    Returns:
        (row, column) pairs, each row and column at most once. Every round takes all pairs that are each other's
        best, which gives the same pairs as taking the single best pair again and again.
    """
    left = scores.copy()
    pairs: list[tuple[int, int]] = []
    while left.size and np.isfinite(left).any():
        column = left.argmax(axis=1)
        row = left.argmax(axis=0)
        mutual = np.flatnonzero((row[column] == np.arange(len(column))) & np.isfinite(left.max(axis=1)))
        pairs.extend((int(t), int(column[t])) for t in mutual)
        left[mutual] = _BLOCKED
        left[:, column[mutual]] = _BLOCKED
    return pairs


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _alike(sides: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.bool_]:
    # One pixel more on both, so that boxes of a pixel or two are not told apart by rounding.
    ratio = (sides[:, None] + 1) / (others[None] + 1)
    return (ratio <= _LARGEST_GROWTH) & (ratio >= 1 / _LARGEST_GROWTH)


def _centre_distances(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    apart = (boxes[:, None, :2] + boxes[:, None, 2:] - others[None, :, :2] - others[None, :, 2:]) / 2
    distances: NDArray[np.float32] = np.hypot(apart[..., 0], apart[..., 1])
    return distances


def _overlaps(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    union = _areas(boxes)[:, None] + _areas(others)[None] - shared
    shares: NDArray[np.float32] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return shares
