"""When the frames of a stream show, condensed to one word that two components can compare without a list.

Containers count time in units of their own: Matroska in milliseconds, AVI in frames. Times are therefore rounded to
milliseconds, halves away from zero, as FFmpeg's muxer rounds, and taken relative to the first frame, because a
container may have to begin at zero.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction

_MILLISECONDS = 1000


class Timeline:
    """Collects the times of frames, in order of presentation.

    Args:
        seconds_per_pts: The stream's unit of time.
    """

    def __init__(self, seconds_per_pts: Fraction) -> None:
        self._unit = seconds_per_pts * _MILLISECONDS
        self._first: int | None = None
        self._state = hashlib.sha256()

    def add(self, pts: int) -> None:
        """The next frame shows at `pts` units."""
        moment = self._rounded(pts)
        if self._first is None:
            self._first = moment
        self._state.update(b"%d\n" % (moment - self._first))

    def _rounded(self, pts: int) -> int:
        """Milliseconds, halves away from zero (AV_ROUND_NEAR_INF of libavutil)."""
        above, below = abs(pts) * self._unit.numerator * 2 + self._unit.denominator, 2 * self._unit.denominator
        nearest = above // below
        return nearest if pts >= 0 else -nearest

    @property
    def word(self) -> str:
        """`sha256:` and 64 hexadecimal digits."""
        return f"sha256:{self._state.hexdigest()}"
