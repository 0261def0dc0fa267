"""Recall and precision of plates at an intersection over union of 0.3: the goal's own measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plates.backgrounds import Photograph

Found = tuple[Any, Any]
Finder = Callable[[NDArray[np.uint8]], Found]
# Of the goals of the project: what counts as found.
IOU = 0.3


@dataclass(frozen=True, slots=True)
class Score:
    """One detector on one set.

    Attributes:
        scores: (N,) of all detections, best first.
        right: (N,) bool, whether each found a plate that none before it found.
        labelled: How many plates there are.
    """

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    labelled: int

    def at(self, threshold: float) -> tuple[float, float]:
        """Recall and precision of the detections with at least this score."""
        counted = self.right[self.scores >= threshold]
        return counted.sum() / max(self.labelled, 1), counted.sum() / max(len(counted), 1)

    def recall_at(self, precision: float) -> tuple[float, float]:
        """The highest recall at a precision of at least this, and the score from which on it is reached."""
        right = np.cumsum(self.right)
        enough = np.flatnonzero(right / np.arange(1, len(right) + 1) >= precision)
        if not len(enough):
            return 0.0, 1.0
        return float(right[enough[-1]] / self.labelled), float(self.scores[enough[-1]])

    @property
    def average(self) -> float:
        """Average precision: the area below the precision that is reached at or after each recall."""
        right = np.cumsum(self.right)
        precision = right / np.arange(1, len(right) + 1)
        best_after = np.maximum.accumulate(precision[::-1])[::-1]
        return float((best_after * self.right).sum() / max(self.labelled, 1))

    def __str__(self) -> str:
        recall, threshold = self.recall_at(0.7)
        return f"AP {self.average:.3f} recall {recall:.3f} at precision 0.7 (score {threshold:.2f})"


def score_of(
    find: Finder, photographs: Sequence[Photograph], *, longest: int, stride: int, upscale: bool = False
) -> Score:
    """Measure a detector.

    Args:
        find: From a picture to boxes (N, 4) xyxy and scores (N,).
        photographs: The set.
        longest: Longer side at which the pictures are seen, pixels.
        stride: Sides are padded to multiples of it.
        upscale: Whether smaller pictures are enlarged to that side.
    """
    found: list[tuple[float, bool]] = []
    for photograph in photographs:
        picture, scale = fitted(photograph.picture, longest=longest, stride=stride, upscale=upscale)
        boxes, scores = thinned(*find(picture))
        found += _judged(boxes / scale, scores, photograph.boxes)
    found.sort(key=lambda detection: -detection[0])
    scores_, right = (np.array(column) for column in zip(*found, strict=True)) if found else (np.zeros(0), np.zeros(0))
    return Score(
        scores_.astype(np.float64), right.astype(np.bool_), sum(len(photograph.boxes) for photograph in photographs)
    )


def fitted(picture: NDArray[np.uint8], *, longest: int, stride: int, upscale: bool) -> tuple[NDArray[np.uint8], float]:
    """A picture as the detector sees it, grey at right and bottom, and its scale."""
    rows, columns = picture.shape[:2]
    scale = longest / max(rows, columns)
    scale = scale if upscale else min(scale, 1.0)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)) if scale != 1 else picture
    padded = np.full((-(-size[1] // stride) * stride, -(-size[0] // stride) * stride, 3), 114, np.uint8)
    padded[: size[1], : size[0]] = small
    return padded, scale


def thinned(boxes: Any, scores: Any, overlap: float = 0.4) -> Found:
    """Of two boxes that overlap by `overlap` or more, the better one."""
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    for index in order:
        if not kept or iou(boxes[index : index + 1], boxes[kept]).max() < overlap:
            kept.append(int(index))
    return boxes[kept], scores[kept]


def iou(boxes: Any, others: Any) -> NDArray[np.float64]:
    """Intersection over union of every pair: (N, 4) and (M, 4) xyxy give (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    overlap = (high - low).clip(0).prod(axis=2)
    areas = [(group[:, 2:] - group[:, :2]).clip(0).prod(axis=1) for group in (boxes, others)]
    shared: NDArray[np.float64] = overlap / np.maximum(areas[0][:, None] + areas[1][None] - overlap, 1e-9)
    return shared


def _judged(boxes: Any, scores: Any, labelled: NDArray[np.float64]) -> list[tuple[float, bool]]:
    free = np.ones(len(labelled), bool)
    judged = []
    for box, score in zip(boxes, scores, strict=True):
        overlap = iou(box[None], labelled)[0] * free if len(labelled) else np.zeros(1)
        right = bool(overlap.max() >= IOU)
        if right:
            free[overlap.argmax()] = False
        judged.append((float(score), right))
    return judged
