"""SCRFD's outputs: scores and four distances for one or two anchors of each cell of three strides.

Source: Guo, Deng, Lattas, Zafeiriou, "Sample and Computation Redistribution for Efficient Face Detection", 2021, and
the authors' published ONNX files, whose distances are in strides from a cell's corner. Landmarks are not read.
"""

from __future__ import annotations

import numpy as np

from veilbox.vision.detect.anchors import Numbers, cells, picked, require_shapes
from veilbox.vision.detect.candidates import Candidates

_STRIDES = (8, 16, 32)


def decode_scrfd(outputs: list[Numbers], *, width: int, height: int, floor: float, classes: int) -> Candidates:
    """Boxes of every anchor whose score is at least `floor`.

    Args:
        outputs: Scores of the strides 8, 16 and 32, (N, classes) or (1, N, classes), then their distances to the left,
            top, right and bottom side, (N, 4) or (1, N, 4).
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score that counts.
        classes: How many classes the card names.

    Raises:
        ImageError: Other shapes.
    """
    flat = [output[0] if output.ndim == 3 and len(output) == 1 else output for output in outputs]
    counts = [len(cells(width, height, (stride,))[0]) for stride in _STRIDES]
    anchors = 2 if flat and flat[0].shape[:1] == (2 * counts[0],) else 1
    sizes = [anchors * count for count in counts]
    require_shapes(flat, [*((size, classes) for size in sizes), *((size, 4) for size in sizes)], family="SCRFD")
    places, strides = (np.repeat(part, anchors, axis=0) for part in cells(width, height, _STRIDES))
    reach = np.concatenate(flat[3:]) * strides
    corner = places * strides
    boxes = np.concatenate((corner - reach[:, :2], corner + reach[:, 2:]), axis=1)
    return picked(boxes, np.concatenate(flat[:3]), floor=floor, width=width, height=height)
