"""Of boxes that overlap, the best one stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veilbox.vision.detect.candidates import Candidates


def best_first(candidates: Candidates) -> NDArray[np.intp]:
    """Order by falling score; equal scores by class and corners, so that the order of arrival does not matter.

    Returns:
        (N,) indices into the candidates.
    """
    columns = (*candidates.boxes.T[::-1], candidates.classes, -candidates.scores)
    return np.lexsort(columns)


def overlap(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of one box with others.

    Args:
        box: (4,) float32, xyxy, half-open.
        others: (N, 4), likewise.

    Returns:
        (N,) float32 in [0, 1]; 0 where both boxes are empty.
    """
    shared = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    shares: NDArray[np.float32] = np.divide(shared, union, out=np.zeros_like(union), where=union > 0)
    return shares


def suppress(candidates: Candidates, *, iou: float, limit: int) -> NDArray[np.intp]:
    """Greedy non-maximum suppression within each class.

    Args:
        candidates: Boxes in any order.
        iou: A box that overlaps a better one of its class by this much or more is dropped.
        limit: The most boxes that stay.

    Returns:
        (K,) indices of the boxes that stay, best first, K <= limit.

    Source: Neubeck and Van Gool, "Efficient Non-Maximum Suppression", 2006, the greedy form.
    """
    waiting = best_first(candidates)
    kept: list[np.intp] = []
    while len(waiting) and len(kept) < limit:
        best, rest = waiting[0], waiting[1:]
        kept.append(best)
        rival = candidates.classes[rest] == candidates.classes[best]
        near = overlap(candidates.boxes[best], candidates.boxes[rest]) >= iou
        waiting = rest[~(rival & near)]
    return np.array(kept, np.intp)
