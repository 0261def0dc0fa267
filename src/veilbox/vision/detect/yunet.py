"""YuNet's outputs: class, objectness and box for each cell of three strides.

Source: Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023, and OpenCV's face detector, which
multiplies both probabilities and takes the root. Landmarks are not read.
"""

from __future__ import annotations

import numpy as np

from veilbox.vision.detect.anchors import Numbers, cells, corners, exponential, picked, require_shapes
from veilbox.vision.detect.candidates import Candidates

_STRIDES = (8, 16, 32)


def decode_yunet(outputs: list[Numbers], *, width: int, height: int, floor: float, classes: int) -> Candidates:
    """Boxes of every cell whose score is at least `floor`.

    Args:
        outputs: Class probabilities (1, N, classes) of the strides 8, 16 and 32, then their objectness (1, N, 1), then
            their boxes (1, N, 4): shift of the middle from the cell's corner and logarithm of the size, in strides.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score that counts.
        classes: How many classes the card names.

    Raises:
        ImageError: Other shapes.
    """
    counts = [len(cells(width, height, (stride,))[0]) for stride in _STRIDES]
    wanted = [(1, count, columns) for columns in (classes, 1, 4) for count in counts]
    require_shapes(outputs, wanted, family="YuNet")
    kinds, there, told = (np.concatenate([part[0] for part in outputs[at : at + 3]]) for at in (0, 3, 6))
    places, strides = cells(width, height, _STRIDES)
    boxes = corners((places + told[:, :2]) * strides, exponential(told[:, 2:]) * strides)
    scores = np.sqrt(np.clip(kinds, 0, 1) * np.clip(there, 0, 1))
    return picked(boxes, scores, floor=floor, width=width, height=height)
