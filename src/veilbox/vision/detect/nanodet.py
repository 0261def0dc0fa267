"""NanoDet-Plus' outputs: class probabilities and four distributions of distance for each cell of four strides.

Source: the project's published exporter and its head with generalised focal loss (Li and others, "Generalized Focal
Loss", 2020, section 3.2: a distance is the mean of a distribution over whole strides).
"""

from __future__ import annotations

import numpy as np

from veilbox.vision.detect.anchors import Numbers, cells, picked, require_shapes
from veilbox.vision.detect.candidates import Candidates

_STRIDES = (8, 16, 32, 64)
# Distances from 0 to 7 strides, the published configurations' `reg_max`.
_STEPS = 8


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
    logits = told[:, classes:].reshape(-1, 4, _STEPS)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    reach = (weights / weights.sum(axis=2, keepdims=True)) @ np.arange(_STEPS, dtype=np.float32) * strides
    corner = places * strides
    boxes = np.concatenate((corner - reach[:, :2], corner + reach[:, 2:]), axis=1)
    return picked(boxes, told[:, :classes], floor=floor, width=width, height=height)
