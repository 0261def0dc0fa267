"""Regions of one frame that must be hidden."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from veilbox.core.errors import ProtocolError


class Origin(IntEnum):
    """Why a track covers a frame."""

    DETECTED = 0
    INTERPOLATED = 1
    EXTENDED = 2


@dataclass(frozen=True, slots=True)
class Regions:
    """What tracks cover in one frame.

    Attributes:
        boxes: (N, 4) float32, xyxy in pixels of the coded frame, half-open, without margin; may reach outside.
        tracks: (N,) int32, the track that each box belongs to.
        classes: (N,) int32, as in `Detections`.
        origins: (N,) int32, values of `Origin`.
    """

    boxes: NDArray[np.float32]
    tracks: NDArray[np.int32]
    classes: NDArray[np.int32]
    origins: NDArray[np.int32]

    def __post_init__(self) -> None:
        count = len(self.boxes)
        shapes = {part.shape for part in (self.tracks, self.classes, self.origins)}
        if self.boxes.shape != (count, 4) or self.boxes.dtype != np.float32 or shapes != {(count,)}:
            raise ProtocolError(
                "regions have the wrong shape or type",
                expected="(N, 4) float32 and three (N,)",
                actual=f"{self.boxes.shape} {self.boxes.dtype} and {sorted(shapes)}",
            )

    @classmethod
    def empty(cls) -> Regions:
        """Nothing to hide."""
        none = np.zeros(0, np.int32)
        return cls(np.zeros((0, 4), np.float32), none, none, none)

    def __len__(self) -> int:
        return len(self.boxes)
