"""The outputs of DETR and RT-DETR: logits and boxes of a set of queries, relative to the picture.

Sources: Carion and others, "End-to-End Object Detection with Transformers", 2020, whose last class is that nothing is
there; Zhao and others, "DETRs Beat YOLOs on Real-time Object Detection", 2024, which has no such class and a sigmoid
for each of the others.
"""

from __future__ import annotations

import numpy as np

from veilbox.vision.detect.anchors import Numbers, corners, picked, require_shapes
from veilbox.vision.detect.candidates import Candidates


def decode_detr(outputs: list[Numbers], *, width: int, height: int, floor: float, classes: int) -> Candidates:
    """DETR: a softmax over the classes and nothing.

    Args:
        outputs: Logits (1, N, classes + 1), the last that nothing is there, and middle and size (1, N, 4), as shares of
            the picture's sides.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score that counts.
        classes: How many classes the card names.

    Raises:
        ImageError: Other shapes.
    """
    queries = _queries(outputs)
    require_shapes(outputs, [(1, queries, classes + 1), (1, queries, 4)], family="DETR")
    logits = outputs[0][0]
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = (weights / weights.sum(axis=1, keepdims=True))[:, :classes]
    return picked(_boxes(outputs[1], width, height), scores, floor=floor, width=width, height=height)


def decode_rtdetr(outputs: list[Numbers], *, width: int, height: int, floor: float, classes: int) -> Candidates:
    """RT-DETR: a sigmoid for each class.

    Args:
        outputs: Logits (1, N, classes), and middle and size (1, N, 4), as shares of the picture's sides.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score that counts.
        classes: How many classes the card names.

    Raises:
        ImageError: Other shapes.
    """
    queries = _queries(outputs)
    require_shapes(outputs, [(1, queries, classes), (1, queries, 4)], family="RT-DETR")
    scores = (0.5 + 0.5 * np.tanh(outputs[0][0] / 2)).astype(np.float32)
    return picked(_boxes(outputs[1], width, height), scores, floor=floor, width=width, height=height)


def _queries(outputs: list[Numbers]) -> int:
    return outputs[0].shape[1] if outputs and outputs[0].ndim == 3 else 0


def _boxes(told: Numbers, width: int, height: int) -> Numbers:
    sides = np.array([width, height], np.float32)
    return corners(told[0, :, :2] * sides, told[0, :, 2:] * sides)
