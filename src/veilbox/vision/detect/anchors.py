"""What decoders of anchor-free and anchored families share: cells of several strides, and boxes picked by score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veilbox.core.errors import ImageError
from veilbox.vision.detect.candidates import Candidates

Numbers = NDArray[np.float32]
# exp(12) is ten times the longest side that a frame may have; beyond it a size is noise, and exp overflows.
_LARGEST_LOG_SIZE = 12.0


def cells(width: int, height: int, strides: Sequence[int]) -> tuple[Numbers, Numbers]:
    """The cells of every stride, row by row, the smallest stride first.

    Args:
        width: Columns of the picture.
        height: Its rows.
        strides: Pixels of a cell's side.

    Returns:
        (N, 2) column and row of each cell, and (N, 1) its stride. A cell that sticks out of the picture counts.
    """
    places, sides = [], []
    for stride in strides:
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        row, column = np.divmod(np.arange(rows * columns), columns)
        places.append(np.stack((column, row), axis=1))
        sides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(places).astype(np.float32), np.concatenate(sides).astype(np.float32)


def corners(centres: Numbers, sizes: Numbers) -> Numbers:
    """(N, 4) xyxy of (N, 2) middles and (N, 2) widths and heights."""
    return np.concatenate((centres - sizes / 2, centres + sizes / 2), axis=1)


def exponential(logs: Numbers) -> Numbers:
    """The sizes whose logarithms a network tells, bounded so that noise stays a number."""
    sizes: Numbers = np.exp(np.minimum(logs, _LARGEST_LOG_SIZE))
    return sizes


def picked(boxes: Numbers, scores: Numbers, *, floor: float, width: int, height: int) -> Candidates:
    """The boxes whose best class has a score of `floor` or more.

    Args:
        boxes: (N, 4) xyxy in pixels of the picture; cut at its borders, and never inside out.
        scores: (N, classes).
        floor: The lowest score that counts.
        width: Columns of the picture.
        height: Its rows.
    """
    kinds = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), kinds]
    kept = best >= floor
    inside = np.clip(boxes[kept], 0, np.array([width, height] * 2)).astype(np.float32)
    inside[:, 2:] = np.maximum(inside[:, 2:], inside[:, :2])
    return Candidates(inside, np.clip(best[kept], 0, 1).astype(np.float32), kinds[kept].astype(np.int32))


def require_shapes(outputs: Sequence[Numbers], wanted: Sequence[tuple[int, ...]], *, family: str) -> None:
    """Hold a model's outputs to the shapes that a family has.

    Raises:
        ImageError: They are others: the card names the wrong decoder, outputs, classes or stride.
    """
    shapes = [output.shape for output in outputs]
    if shapes != list(wanted):
        raise ImageError(
            f"the model's outputs are not {family}'s",
            where="card.json decoding",
            expected=", ".join(map(str, wanted)),
            actual=", ".join(map(str, shapes)),
            advice="See the families in the guide on bringing a model",
        )
