"""CenterFace's outputs: a heat map of face centres with a size and an offset for each cell.

Source: Xu, Yan, Lan, "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019, section 3.2, and
the authors' published code for the half-cell shift and the order (rows first) of the size and offset channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veilbox.core.errors import ImageError
from veilbox.vision.detect.candidates import Candidates

# Pixels of the picture for each cell of the maps: the network's output stride R of section 3.1.
_CELL = 4
# exp(12) cells are 650,000 pixels, ten times the longest side that a frame may have; beyond it a size is noise.
_LARGEST_LOG_SIZE = 12.0


def decode_centerface(
    outputs: list[NDArray[np.float32]], *, width: int, height: int, floor: float, classes: int
) -> Candidates:
    """Boxes of every cell whose heat is at least `floor`.

    Args:
        outputs: Heat map (1, 1, h/4, w/4) in [0, 1], natural logarithm of the size in cells (1, 2, h/4, w/4) and
            offset of the centre in cells (1, 2, h/4, w/4), both with rows before columns.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score that counts.
        classes: Must be 1.

    Raises:
        ImageError: Other shapes or several classes.
    """
    _require_maps(outputs, rows=height // _CELL, columns=width // _CELL, classes=classes)
    heatmap, log_size, offset = (output[0] for output in outputs)
    row, column = np.nonzero(heatmap[0] >= floor)
    size = np.exp(np.minimum(log_size[:, row, column], _LARGEST_LOG_SIZE)) * _CELL
    centre = (np.stack((row, column)) + offset[:, row, column] + 0.5) * _CELL
    corners = np.concatenate(((centre - size / 2)[::-1], (centre + size / 2)[::-1])).T
    inside = np.clip(corners, 0, np.array([width, height, width, height])).astype(np.float32)
    return Candidates(inside, heatmap[0, row, column], np.zeros(len(row), np.int32))


def _require_maps(outputs: list[NDArray[np.float32]], *, rows: int, columns: int, classes: int) -> None:
    shapes = [output.shape for output in outputs]
    wanted = [(1, channels, rows, columns) for channels in (1, 2, 2)]
    if shapes != wanted or classes != 1:
        raise ImageError(
            "the model's outputs are not CenterFace's",
            where="card.json decoding",
            expected=f"one class and maps {wanted}",
            actual=f"{classes} classes and maps {shapes}",
        )
