"""Centre points with four distances: a heat map for each class, and how far each cell's middle lies from the sides.

The family of Zhou, Wang, Kraehenbuehl, "Objects as Points", 2019, with the sides of Tian et al., "FCOS", 2019. The
project's own models (`training/`) are of it: their graphs set every cell that is no local maximum to 0 and give
distances in pixels, so that nothing about the network has to be known here but the maps' shapes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veilbox.core.errors import ImageError
from veilbox.vision.detect.candidates import Candidates


def decode_points(
    outputs: list[NDArray[np.float32]], *, width: int, height: int, floor: float, classes: int
) -> Candidates:
    """Boxes of every cell and class whose heat is at least `floor`.

    Args:
        outputs: Heat (1, classes, rows, columns) in [0, 1] and distances in pixels of the picture from each cell's
            middle to the left, top, right and bottom side (1, 4, rows, columns). Cells are squares that fill the
            picture: their side is width / columns.
        width: Columns of the picture; boxes are cut at its borders.
        height: Rows of it.
        floor: The lowest score that counts.
        classes: How many classes the card names.

    Raises:
        ImageError: Other shapes, or cells that do not fill the picture.
    """
    cell = _cell_of(outputs, width=width, height=height, classes=classes)
    heat, sides = outputs[0][0], outputs[1][0]
    kind, row, column = np.nonzero(heat >= floor)
    middle = (np.stack((column, row)) + 0.5) * cell
    reach = sides[:, row, column]
    corners = np.concatenate((middle - reach[:2], middle + reach[2:])).T
    inside = np.clip(corners, 0, np.array([width, height, width, height])).astype(np.float32)
    # A negative distance would turn a box inside out.
    inside[:, 2:] = np.maximum(inside[:, 2:], inside[:, :2])
    return Candidates(inside, heat[kind, row, column], kind.astype(np.int32))


def _cell_of(outputs: list[NDArray[np.float32]], *, width: int, height: int, classes: int) -> int:
    """Pixels of a cell's side, after the shapes were checked."""
    shapes = [output.shape for output in outputs]
    rows, columns = shapes[0][-2:] if shapes and len(shapes[0]) == 4 else (0, 0)
    cell = width // columns if columns else 0
    fills = cell > 0 and (rows * cell, columns * cell) == (height, width)
    if not fills or shapes != [(1, classes, rows, columns), (1, 4, rows, columns)]:
        raise ImageError(
            "the model's outputs are not centre points with distances",
            where="card.json decoding",
            expected=f"heat (1, {classes}, rows, columns) and distances (1, 4, rows, columns) of square cells",
            actual=f"{shapes} for a picture of {width}x{height}",
        )
    return cell
