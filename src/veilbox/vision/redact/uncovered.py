"""Whether regions of a finished frame are hidden: what a redactor would change there, were it let at it again.

Redaction says all that it keeps of a region in a few values, so doing it again changes little: nothing in a solid
cover, something in a blur, whose contrast falls each time, and where covers overlap. What it would change yet another
time tells how much; a face that was never hidden changes by far more the first time than the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from veilbox.core.frame import FrameLayout
from veilbox.core.policy import Redaction, Style
from veilbox.core.regions import Regions
from veilbox.vision.redact.area import Area, whole_pixels
from veilbox.vision.redact.planes import Samples
from veilbox.vision.redact.redactor import Redactor

# Regions with a shorter side are a handful of samples, of which an encoder leaves little.
_LEAST_SIDE = 8
# How often the second change is taken off the first. Of 0, 1, 1.5 and 2 it parted 292 labelled faces best in all six
# combinations of style and shape, hidden and encoded as JPEG at quality 80 against as they were (2026-11): at 1.5 what
# is hidden reached 0.022 at most.
_SECOND_CHANGE = 1.5

# From which change on a region counts as not hidden. Of 343 labelled faces, hidden and encoded as JPEG at quality 80,
# pixelation reached 0.028 and blur 0.022 in any of four draws of their random part. As they were, all were above
# (pixelate, solid), of blur 99 % (docs/reference/verification.md).
UNCOVERED: Mapping[Style, float] = MappingProxyType({Style.SOLID: 0.025, Style.PIXELATE: 0.035, Style.BLUR: 0.025})


def uncovered(
    planes: list[Samples], layout: FrameLayout, regions: Regions, redaction: Redaction, *, full_range: bool
) -> NDArray[np.float32]:
    """How far each region is from hidden.

    Args:
        planes: Of the finished frame, as from `planes_of`; not changed.
        layout: The frame's layout.
        regions: What had to be hidden, in pixels of the frame, without margin.
        redaction: How.
        full_range: As in `Redactor.redact`.

    Returns:
        (N,) float32: the mean change of the first plane's samples in the region beyond what a redaction does to a
        hidden one, in shares of the full scale; 0 for regions outside the frame or of less than eight pixels on a side.
    """
    if not len(regions):
        return np.zeros(0, np.float32)
    redactor, seen = Redactor(redaction), planes[0]
    once = seen.copy()
    redactor.redact_first(once, layout, regions, full_range=full_range)
    twice = once
    if redaction.style is not Style.SOLID:  # what is one colour stays so
        twice = once.copy()
        redactor.redact_first(twice, layout, regions, full_range=full_range)
    scale = float((1 << layout.format.depth) - 1)
    changes = [
        _change(seen, once, area, layout) - _SECOND_CHANGE * _change(once, twice, area, layout)
        for area in (Area(*box) for box in whole_pixels(regions.boxes, margin=0, smallest=1).tolist())
    ]
    beyond: NDArray[np.float32] = (np.maximum(np.array(changes, np.float32), 0) / np.float32(scale)).astype(np.float32)
    return beyond


def _change(before: Samples, after: Samples, area: Area, layout: FrameLayout) -> float:
    window = area.window(layout.format.planes[0], layout)
    rows, columns = window.slices
    old, new = before[rows, columns], after[rows, columns]
    if min(old.shape[:2]) < _LEAST_SIDE:
        return 0.0
    return float(np.abs(old.astype(np.int32) - new.astype(np.int32)).mean())
