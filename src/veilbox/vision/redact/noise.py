"""What is random in pixelation and blur: an offset for every mean, drawn from a key that is thrown away.

Whoever redoes a redaction gets the means again, but not what was added to them. The offsets of a track stay the same as
long as it lasts: drawn anew for each frame, they would be gone in the mean of many frames. The key is one item's, is
never written, and is never made of pixels, so that nobody can find it again from a picture that he has.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
from numpy.typing import NDArray

# As a share of the full scale, to either side. Of 1/16, 3/32 and 1/8 the only one with which none of 343 hidden faces,
# drawn four times in four ways, looked to verify (`uncovered`) as if it were not; an eighth would link fewer faces (53
# of 100 at four cells instead of 88), but one of 343 hidden ones would go into quarantine (2026-11).
_MOST = 1 / 16
_KEY_BYTES = 32


class Noise:
    """Offsets of one item.

    Args:
        key: 32 bytes that nobody else has.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def fresh(cls) -> Noise:
        """Of a new key."""
        return cls(os.urandom(_KEY_BYTES))

    def offsets(self, track: int, plane: int, shape: tuple[int, int, int], scale: int) -> NDArray[np.int64]:
        """What is added to the means of a region.

        Args:
            track: Whose region it is.
            plane: Index of the plane.
            shape: Rows and columns of cells, and components.
            scale: The largest sample value.

        Returns:
            int64 of that shape, uniform within a sixteenth of the scale to either side.
        """
        count = shape[0] * shape[1] * shape[2]
        place = track.to_bytes(8, "little") + bytes((plane,))
        drawn = np.frombuffer(hashlib.shake_256(self._key + place).digest(4 * count), "<u4").astype(np.int64)
        most = round(scale * _MOST)
        offsets: NDArray[np.int64] = (drawn * (2 * most + 1) >> 32) - most
        return offsets.reshape(shape)
