"""Regions of one frame that must be hidden."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from veilbox.core.errors import ProtocolError
from veilbox.core.frozen import frozen

_COLUMNS = 7
# float32 holds every integer up to 2**24 exactly; a film has fewer tracks.
_MAX_NUMBER = 1 << 24


class Origin(IntEnum):
    """Why a track covers a frame."""

    DETECTED = 0
    INTERPOLATED = 1
    EXTENDED = 2


@frozen(kw_only=False)
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

    def pack(self) -> bytes:
        """Seven little-endian float32 a region: x1, y1, x2, y2, track, class, origin."""
        numbers = (part[:, None].astype(np.float32) for part in (self.tracks, self.classes, self.origins))
        return np.concatenate((self.boxes, *numbers), axis=1).astype("<f4").tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Regions:
        """The inverse of `pack`; the bytes come from another component and are checked.

        Raises:
            ProtocolError: They are cut off, or a number is not one of these.
        """
        if len(payload) % (4 * _COLUMNS):
            raise ProtocolError(
                "regions are cut off", expected=f"a multiple of {4 * _COLUMNS} bytes", actual=str(len(payload))
            )
        rows = np.frombuffer(payload, "<f4").astype(np.float32).reshape(-1, _COLUMNS)
        numbers = rows[:, 4:]
        if not np.isfinite(rows).all() or ((numbers < 0) | (numbers > _MAX_NUMBER)).any():
            raise ProtocolError("a region is out of bounds", expected=f"finite, numbers of 0 to {_MAX_NUMBER}")
        tracks, classes, origins = (column.astype(np.int32) for column in numbers.T)
        return cls(rows[:, :4].copy(), tracks, classes, origins)
