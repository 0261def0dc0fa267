"""The outputs of YOLO's branches, as their own exporters write them to ONNX without suppression.

Sources: Ge and others, "YOLOX: Exceeding YOLO Series in 2021", 2021, section 2.1, and its exporter without
`--decode_in_inference`; Ultralytics' exporters for YOLOv5 and for v8, v9 and 11, and its forks for v6 and v7; Wang and
others, "YOLOv10: Real-Time End-to-End Object Detection", 2024, whose export needs no suppression.
"""

from __future__ import annotations

import numpy as np

from veilbox.vision.detect.anchors import Numbers, cells, corners, exponential, picked, require_shapes
from veilbox.vision.detect.candidates import Candidates

_STRIDES = (8, 16, 32)


def decode_yolox(outputs: list[Numbers], *, width: int, height: int, floor: float, classes: int) -> Candidates:
    """YOLOX: boxes relative to cells.

    Args:
        outputs: (1, N, 5 + classes) for the cells of the strides 8, 16 and 32: shift of the middle from the cell's
            corner and logarithm of the size, both in strides, objectness, probabilities of the classes.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score, objectness times class, that counts.
        classes: How many classes the card names.

    Raises:
        ImageError: Other shapes.
    """
    places, strides = cells(width, height, _STRIDES)
    require_shapes(outputs, [(1, len(places), 5 + classes)], family="YOLOX")
    told = outputs[0][0]
    boxes = corners((places + told[:, :2]) * strides, exponential(told[:, 2:4]) * strides)
    return picked(boxes, told[:, 4:5] * told[:, 5:], floor=floor, width=width, height=height)


def decode_yolov5(outputs: list[Numbers], *, width: int, height: int, floor: float, classes: int) -> Candidates:
    """YOLOv5, v6 and v7: boxes in pixels, with an objectness.

    Args:
        outputs: (1, N, 5 + classes): middle and size in pixels, objectness, probabilities of the classes.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score, objectness times class, that counts.
        classes: How many classes the card names.

    Raises:
        ImageError: Other shapes.
    """
    require_shapes(outputs, [(1, _rows(outputs, 1), 5 + classes)], family="YOLOv5")
    told = outputs[0][0]
    scores = told[:, 4:5] * told[:, 5:]
    return picked(corners(told[:, :2], told[:, 2:4]), scores, floor=floor, width=width, height=height)


def decode_yolov8(outputs: list[Numbers], *, width: int, height: int, floor: float, classes: int) -> Candidates:
    """YOLOv8, v9 and 11: boxes in pixels, one column each, without an objectness.

    Args:
        outputs: (1, 4 + classes, N): middle and size in pixels, probabilities of the classes.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score that counts.
        classes: How many classes the card names.

    Raises:
        ImageError: Other shapes.
    """
    require_shapes(outputs, [(1, 4 + classes, _rows(outputs, 2))], family="YOLOv8")
    told = outputs[0][0].T
    return picked(corners(told[:, :2], told[:, 2:4]), told[:, 4:], floor=floor, width=width, height=height)


def decode_yolov10(outputs: list[Numbers], *, width: int, height: int, floor: float, classes: int) -> Candidates:
    """YOLOv10: the best boxes, one class each.

    Args:
        outputs: (1, N, 6): left, top, right and bottom in pixels, score, index of the class.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score that counts.
        classes: How many classes the card names; boxes of others are left out.

    Raises:
        ImageError: Other shapes.
    """
    require_shapes(outputs, [(1, _rows(outputs, 1), 6)], family="YOLOv10")
    told = outputs[0][0]
    known = told[(told[:, 5] >= 0) & (told[:, 5] < classes)]
    scores = np.where(np.arange(classes) == known[:, 5:].astype(np.int64), known[:, 4:5], 0).astype(np.float32)
    return picked(known[:, :4], scores, floor=floor, width=width, height=height)


def _rows(outputs: list[Numbers], axis: int) -> int:
    """How many boxes there are, where the picture's size does not say."""
    return outputs[0].shape[axis] if outputs and outputs[0].ndim == 3 else 0
