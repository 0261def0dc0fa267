"""The few values that pixelation and blur keep of a region, and the surfaces made of nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veilbox.vision.redact.planes import Samples

# Pixels of the frame. Four are two chroma samples of 4:2:0, the smallest side at which every cell of every plane is
# a mean of several samples: smaller ones would hand a small face through as it is.
SMALLEST_CELL = 4


def cell_side(longer_side: int, cells: int) -> int:
    """Side of a cell so that at most `cells` lie along the longer side of a region, pixels of the frame."""
    return max(SMALLEST_CELL, -(-longer_side // cells))


def cell_edges(samples: int, shift: int, *, side: int, cells: int) -> NDArray[np.intp]:
    """Borders of the cells along one side of a window, as even as whole samples allow.

    Args:
        samples: Samples along the side, at least 1.
        shift: The plane's right shift along it.
        side: A cell's side in pixels of the frame.
        cells: The most cells there may be.

    Returns:
        (K + 1,) rising from 0 to `samples`, 1 <= K <= cells.
    """
    count = max(1, min(cells, (samples << shift) // side))
    return np.arange(count + 1) * samples // count


def cell_means(samples: Samples, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.uint64]:
    """The mean of each cell and component, rounded half up.

    Args:
        samples: (R, C, K).
        rows: Borders of the cells along the rows.
        columns: Borders along the columns.

    Returns:
        (len(rows) - 1, len(columns) - 1, K) uint64.
    """
    wide = np.uint32 if samples.size < 1 << 16 else np.uint64  # 2**16 samples of 16 bits still fit 32
    stripes = np.add.reduceat(samples, rows[:-1], axis=0, dtype=wide)
    sums = np.add.reduceat(stripes, columns[:-1], axis=1, dtype=np.uint64)
    counts = (np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None]).astype(np.uint64)
    means: NDArray[np.uint64] = (sums + counts // 2) // counts
    return means


def flat(means: NDArray[np.uint64], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.uint64]:
    """Every cell filled with its mean: (R, C, K)."""
    return means.repeat(np.diff(rows), axis=0).repeat(np.diff(columns), axis=1)


def smooth(means: NDArray[np.uint64], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float32]:
    """A bilinear surface through the means at the cells' centres, level beyond the outermost: (R, C, K).

    Each value is a weighted mean of at most four cells, so nothing but the means is in it. Half is added, so that
    cutting off the fraction rounds.
    """
    planes = means.transpose(2, 0, 1).astype(np.float32)
    surface: NDArray[np.float32] = np.matmul(_weights(rows) @ planes, _weights(columns).T)
    surface += 0.5
    return surface.transpose(1, 2, 0)


def _weights(edges: NDArray[np.intp]) -> NDArray[np.float32]:
    """(samples, cells) float32: how much each cell counts at each sample; rows sum to 1."""
    cells = np.arange(len(edges) - 1)
    centres = (edges[:-1] + edges[1:]) / 2
    position = np.interp(np.arange(edges[-1]) + 0.5, centres, cells)
    weights: NDArray[np.float32] = np.maximum(1 - np.abs(position[:, None] - cells), 0).astype(np.float32)
    return weights
