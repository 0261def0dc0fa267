"""What a decoder reads off a model's outputs, before overlapping boxes are thinned out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from veilbox.core.frozen import frozen


@frozen(kw_only=False)
class Candidates:
    """Boxes that may overlap.

    Attributes:
        boxes: (N, 4) float32, xyxy in pixels of the model's picture, half-open, inside the picture.
        scores: (N,) float32 in [0, 1].
        classes: (N,) int32, indices into the card's classes.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int32]


class Decoder(Protocol):
    """The seam to a family of models: outputs in, boxes out, and no state."""

    def __call__(
        self, outputs: list[NDArray[np.float32]], *, width: int, height: int, floor: float, classes: int
    ) -> Candidates:
        """Read one picture's boxes.

        Args:
            outputs: The model's outputs in the card's order, each with a batch of one.
            width: Columns of the model's picture.
            height: Rows of it.
            floor: Boxes with a lower score are left out.
            classes: How many classes the card names.

        Raises:
            ImageError: The outputs have other shapes than this decoder reads: the card names the wrong decoder.
        """
        ...
