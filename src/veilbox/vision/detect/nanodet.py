"""NanoDet's outputs: class probabilities and four distributions of distance for each cell of some strides.

Two generations: NanoDet of 2020 (`nanodetv0`) measures from a cell's middle, NanoDet-Plus (`nanodet`) from its corner.

Source: the project's published exporter and its heads with generalised focal loss (Li and others, "Generalized Focal
Loss", 2020, section 3.2: a distance is the mean of a distribution over whole strides).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veilbox.vision.detect.anchors import Numbers, cells, picked, require_shapes
from veilbox.vision.detect.candidates import Candidates

_STRIDES = (8, 16, 32, 64)
# Distances from 0 to 7 strides, the published configurations' `reg_max`.
_STEPS = 8
# NanoDet's before Plus; `reg_max` is 7 or 10 in its published configurations.
_STRIDES_V0 = (8, 16, 32)
_STEPS_V0 = (8, 11)


def decode_nanodet(outputs: list[Numbers], *, width: int, height: int, floor: float, classes: int) -> Candidates:
    """Boxes of every cell whose score is at least `floor`.

    Args:
        outputs: (1, N, classes + 32) for the cells of the strides 8 to 64: probabilities, then eight logits each for
            the distance to the left, top, right and bottom side, from the cell's corner.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score that counts.
        classes: How many classes the card names.

    Raises:
        ImageError: Other shapes.
    """
    places, strides = cells(width, height, _STRIDES)
    require_shapes(outputs, [(1, len(places), classes + 4 * _STEPS)], family="NanoDet-Plus")
    told = outputs[0][0]
    boxes = _boxes(places * strides, told[:, classes:], strides)
    return picked(boxes, told[:, :classes], floor=floor, width=width, height=height)


def decode_nanodetv0(outputs: list[Numbers], *, width: int, height: int, floor: float, classes: int) -> Candidates:
    """Boxes of every cell and class whose score is at least `floor`.

    A cell may tell of several classes: who hides cars wants what is rather a truck, but perhaps a car.

    Args:
        outputs: (1, N, classes + 32) or (1, N, classes + 44) for the cells of the strides 8, 16 and 32:
            probabilities, then eight or eleven logits each for the distance to the left, top, right and bottom side,
            from the cell's middle.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score that counts.
        classes: How many classes the card names.

    Raises:
        ImageError: Other shapes.
    """
    places, strides = cells(width, height, _STRIDES_V0)
    steps = next((one for one in _STEPS_V0 if _channels(outputs) == classes + 4 * one), _STEPS_V0[0])
    require_shapes(outputs, [(1, len(places), classes + 4 * steps)], family="NanoDet")
    told = outputs[0][0]
    cell, kind = np.nonzero(told[:, :classes] >= floor)
    boxes = _boxes((places[cell] + 0.5) * strides[cell], told[cell, classes:], strides[cell])
    inside = np.clip(boxes, 0, np.array([width, height] * 2)).astype(np.float32)
    inside[:, 2:] = np.maximum(inside[:, 2:], inside[:, :2])
    scores = np.clip(told[cell, kind], 0, 1).astype(np.float32)
    return Candidates(inside, scores, kind.astype(np.int32))


def _channels(outputs: list[Numbers]) -> int:
    return outputs[0].shape[-1] if outputs else 0


def _boxes(origins: Numbers, logits: Numbers, strides: Numbers) -> NDArray[np.float32]:
    """(N, 4) xyxy, from (N, 2) where distances begin, (N, 4 * steps) and (N, 1)."""
    steps = logits.shape[1] // 4
    sides = logits.reshape(-1, 4, steps)
    weights = np.exp(sides - sides.max(axis=2, keepdims=True))
    reach = (weights / weights.sum(axis=2, keepdims=True)) @ np.arange(steps, dtype=np.float32) * strides
    boxes: NDArray[np.float32] = np.concatenate((origins - reach[:, :2], origins + reach[:, 2:]), axis=1)
    return boxes
