"""Where one scene ends and another begins, told from two frames' lightness alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A frame is compared as so many columns and rows of mean lightness: coarse enough that people who walk and hands that
# tremble change little.
_COLUMNS, _ROWS = 16, 9
# Samples for each of these means, along each side.
_SAMPLES = 4
# Correlation of two frames below which they show different places. Within the scenes of two rendered film sets
# (flicker, running, a trembling camera among them) and of six real films it was 0.73 or more, across the sets' cuts to
# another backdrop 0.48 or less (2026-11). Nearer to the latter: a cut that is taken for none only hides more.
_DIFFERENT = 0.5
# Standard deviation, in steps of 255, below which a frame shows nothing to compare.
_BLANK = 2.0


class Cuts:
    """Watches the frames of one film, in order."""

    def __init__(self) -> None:
        self._before: NDArray[np.float64] | None = None

    def begins(self, samples: NDArray[np.uint8] | NDArray[np.uint16]) -> bool:
        """Whether a frame begins another scene. How light a frame is as a whole does not matter.

        Args:
            samples: (rows, columns, components) of the frame's first plane; its first component counts.
        """
        now = _outline(samples)
        before, self._before = self._before, now
        if before is None or now is None:
            return False
        return float(now @ before) < _DIFFERENT


def _outline(samples: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.float64] | None:
    """Mean lightness by place, of mean 0 and length 1; None of a frame that shows nothing."""
    rows, columns = _spread(samples.shape[0], _ROWS), _spread(samples.shape[1], _COLUMNS)
    light = samples[..., 0][np.ix_(rows, columns)].astype(np.float64)
    means = light.reshape(_ROWS, _SAMPLES, _COLUMNS, _SAMPLES).mean(axis=(1, 3)).reshape(-1)
    means -= means.mean()
    length = float(np.linalg.norm(means))
    scale = 1 if samples.dtype == np.uint8 else 4
    return means / length if length > _BLANK * scale * np.sqrt(means.size) else None


def _spread(length: int, parts: int) -> NDArray[np.intp]:
    """Places of samples at equal distances along a side."""
    count = parts * _SAMPLES
    return (np.arange(count) * length + length // 2) // count
