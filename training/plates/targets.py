"""What the maps should show for a labelled picture; NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Spread of the heat around a plate's centre against the plate's size, and the share of it within which sizes are
# learnt: alpha and beta of Liu et al., 2019, section 3.
_SPREAD = 0.54
# Cells; a plate of one cell's height still teaches its neighbours a little.
_LEAST_SPREAD = 0.45


@dataclass(frozen=True, slots=True)
class Targets:
    """Of one picture, r rows by c columns of cells.

    Attributes:
        heat: (r, c) float32, 1 at the centre of a plate, falling off around it.
        counts: (r, c) float32, 0 where neither a plate nor its absence counts, else 1.
        boxes: (4, r, c) float32, the plate that a cell belongs to, xyxy in cells.
        weight: (r, c) float32, how much the box of a cell counts; each plate's weights sum up to 1.
    """

    heat: NDArray[np.float32]
    counts: NDArray[np.float32]
    boxes: NDArray[np.float32]
    weight: NDArray[np.float32]


def targets_of(boxes: NDArray[np.float64], ignored: NDArray[np.float64], *, side: int, cell: int) -> Targets:
    """Targets of one square picture.

    Args:
        boxes: (N, 4) xyxy in pixels: plates to find.
        ignored: (M, 4) likewise: plates that do not count.
        side: Rows and columns of the picture, pixels.
        cell: Pixels of a cell.
    """
    cells = side // cell
    heat, weight = np.zeros((2, cells, cells), np.float32)
    counts, target = np.ones((cells, cells), np.float32), np.zeros((4, cells, cells), np.float32)
    for box in ignored / cell:
        left, top, right, bottom = np.round(box + np.array([-0.5, -0.5, 0.5, 0.5])).astype(int).clip(0, cells)
        counts[top:bottom, left:right] = 0
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    largest_first = np.argsort(-area)  # the smaller plate wins where two meet
    for box in boxes[largest_first] / cell:
        bump = _bump(box, cells)
        heat = np.maximum(heat, bump)
        near = bump > 0.1
        weight[near] = bump[near] / bump[near].sum()
        target[:, near] = box.astype(np.float32)[:, None]
    counts[heat > 0.1] = 1
    return Targets(heat, counts, target, weight)


def _bump(box: NDArray[np.float64], cells: int) -> NDArray[np.float32]:
    """A hill of height 1 whose top lies on the cell that holds the box's centre."""
    centre = np.minimum((box[:2] + box[2:]) / 2, cells - 1e-6)
    spread = np.maximum((box[2:] - box[:2]) * _SPREAD / 6 * 1.5, _LEAST_SPREAD)
    column, row = np.floor(centre)
    x = (np.arange(cells) - column) / spread[0]
    y = (np.arange(cells) - row) / spread[1]
    bump: NDArray[np.float32] = np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) / 2).astype(np.float32)
    return bump
