"""How much of what is labelled is hidden, and how much is hidden without need, to the pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veilbox.evaluation.labels import Box

# A box counts as covered from here on, and as exposed below the other: the detection issue's goals.
COVERED = 0.8
EXPOSED = 0.5


def share_hidden(hidden: NDArray[np.bool_], box: Box) -> float | None:
    """The share of a box's pixels inside the picture that is hidden; None if it has none there.

    Args:
        hidden: (rows, columns), which pixels of the picture are hidden.
        box: xyxy in pixels; a pixel is the box's if the box touches it.
    """
    window = hidden[_slices(box)]
    return float(window.mean()) if window.size else None


def share_needless(hidden: NDArray[np.bool_], boxes: Sequence[Box], *, margin: float) -> float:
    """The share of the picture that is hidden outside of all boxes.

    Args:
        hidden: (rows, columns), which pixels of the picture are hidden.
        boxes: What is to be hidden.
        margin: Added to each on each side, as a share of its width and height: what the policy wants hidden too.
    """
    wanted = np.zeros_like(hidden)
    for x1, y1, x2, y2 in boxes:
        across, down = (x2 - x1) * margin, (y2 - y1) * margin
        wanted[_slices((x1 - across, y1 - down, x2 + across, y2 + down))] = True
    return float(np.count_nonzero(hidden & ~wanted)) / hidden.size


def _slices(box: Box) -> tuple[slice, slice]:
    x1, y1, x2, y2 = box
    return (
        slice(max(math.floor(y1), 0), max(math.ceil(y2), 0)),
        slice(max(math.floor(x1), 0), max(math.ceil(x2), 0)),
    )
