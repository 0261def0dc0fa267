"""RetinaFace's outputs: shifts of priors and a probability for each, in the form of the single-shot detector.

Source: Deng and others, "RetinaFace: Single-stage Dense Face Localisation in the Wild", 2019, and the widely used
PyTorch training code whose exports these are: priors of 16 to 512 pixels, variances 0.1 and 0.2. Landmarks are not
read.
"""

from __future__ import annotations

import numpy as np

from veilbox.vision.detect.anchors import Numbers, cells, corners, exponential, picked, require_shapes
from veilbox.vision.detect.candidates import Candidates

# Two sizes of priors, in pixels, for each stride.
_PRIORS = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2


def decode_retinaface(outputs: list[Numbers], *, width: int, height: int, floor: float, classes: int) -> Candidates:
    """Boxes of every prior whose probability is at least `floor`.

    Args:
        outputs: Shifts (1, N, 4) of centre and size, and probabilities (1, N, 1 + classes), the first of which is that
            nothing is there.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score that counts.
        classes: How many classes the card names.

    Raises:
        ImageError: Other shapes.
    """
    places, strides = (np.repeat(part, 2, axis=0) for part in cells(width, height, tuple(_PRIORS)))
    require_shapes(outputs, [(1, len(places), 4), (1, len(places), 1 + classes)], family="RetinaFace")
    second = np.arange(len(places)) % 2
    priors = np.array([_PRIORS[int(stride)][which] for stride, which in zip(strides[:, 0], second, strict=True)])
    shifts = outputs[0][0]
    centres = (places + 0.5) * strides + shifts[:, :2] * (_CENTRE_VARIANCE * priors[:, None])
    sizes = exponential(shifts[:, 2:] * _SIZE_VARIANCE) * priors[:, None]
    boxes = corners(centres.astype(np.float32), sizes.astype(np.float32))
    return picked(boxes, outputs[1][0, :, 1:], floor=floor, width=width, height=height)
