"""Every frame of a film, but of each only what differs from what was looked at last.

A model tells the same of the same samples. Where nothing changes, what was found there still holds, and only changed
places, and whole boxes that they touch, are looked at. What changes slowly adds up: each place is compared with what
it was when it was looked at, not with the frame before. Noise is change, so nothing is saved where a picture is full
of it, nor where the camera moves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from veilbox.core.detections import MAX_DETECTIONS, Detections
from veilbox.vision.detect.candidates import Candidates
from veilbox.vision.detect.glance import Glance
from veilbox.vision.detect.nms import overlaps, suppress
from veilbox.vision.detect.parts import Place

# Every second green sample of a row and of a column is compared; eight by eight of them are a block.
_STEP, _BLOCK = 2, 8
_BLOCK_PIXELS = _STEP * _BLOCK
# Mean change of a block's samples, of 255, from which on it is another picture. A face of 8x8 pixels that differs from
# what is behind it by 8 changes its block by 2; coded films change a still block by less than 1 (2026-11).
_CHANGED = 2.0
# Frames from one look at the whole to the next: what only a whole look could tell is missed for less than twelve, which
# tracks bridge.
_LONGEST = 12
# A box that a part's border may cut is one that was known if it overlaps that one by so much.
_KNOWN = 0.3


class Looker(Protocol):
    """What looks at pictures; `Detector` is one."""

    def detect(self, picture: NDArray[np.uint8]) -> Detections:
        """Everything in the whole picture."""

    def glance(self, picture: NDArray[np.uint8], places: Sequence[Place]) -> Glance | None:
        """What is at some places; None where the whole is as cheap."""

    @property
    def nms_iou(self) -> float:
        """From which overlap on two boxes are one."""


class ChangedPlaces:
    """Looks at one film's frames in order.

    Args:
        looker: What looks.
    """

    def __init__(self, looker: Looker) -> None:
        self._looker = looker
        self._found = Detections.empty()
        # What each place was when it was looked at; None before the first frame.
        self._shown: NDArray[np.uint8] | None = None
        self._since_whole = 0

    def detect(self, picture: NDArray[np.uint8]) -> Detections:
        """Everything in the next frame.

        Args:
            picture: (rows, columns, 3) uint8 RGB, each of the film's in the same shape.

        Returns:
            As `Looker.detect` gives it.
        """
        now = np.ascontiguousarray(picture[::_STEP, ::_STEP, 1])
        self._since_whole += 1
        if self._shown is None or self._since_whole >= _LONGEST or not self._renew(picture, now, self._shown):
            self._found, self._shown, self._since_whole = self._looker.detect(picture), now, 0
        return self._found

    def _renew(self, picture: NDArray[np.uint8], now: NDArray[np.uint8], shown: NDArray[np.uint8]) -> bool:
        """Look where something changed; whether that was enough."""
        changed = _changed(shown, now)
        if not changed.any():
            return True
        touched = _touched(self._found.boxes, changed)
        glance = self._looker.glance(picture, [*_places(changed), *_as_places(self._found.boxes[touched])])
        if glance is None:
            return False
        kept = _those(self._found, ~touched)
        if not _all_known(glance.cut, kept):
            return False
        self._found = _joined(glance.found, kept, iou=self._looker.nms_iou)
        mask = changed.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)[: shown.shape[0], : shown.shape[1]]
        np.copyto(shown, now, where=mask)
        return True


def _changed(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(rows / 8, columns / 8), rounded up: which blocks are another picture."""
    # Bytes are not signed: the larger less the smaller.
    difference = np.maximum(before, now) - np.minimum(before, now)
    rows, columns = (-(-side // _BLOCK) for side in difference.shape)
    missing = (rows * _BLOCK - difference.shape[0], columns * _BLOCK - difference.shape[1])
    if any(missing):
        difference = np.pad(difference, ((0, missing[0]), (0, missing[1])), mode="edge")
    means = difference.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3), dtype=np.float32)
    changed: NDArray[np.bool_] = means >= _CHANGED
    return changed


def _places(changed: NDArray[np.bool_]) -> Iterator[Place]:
    """Runs of changed blocks, row by row."""
    for row, blocks in enumerate(changed):
        edges = np.flatnonzero(np.diff(np.concatenate(([False], blocks, [False])).astype(np.int8)))
        for first, end in edges.reshape(-1, 2).tolist():
            yield (
                first * _BLOCK_PIXELS,
                row * _BLOCK_PIXELS,
                end * _BLOCK_PIXELS,
                (row + 1) * _BLOCK_PIXELS,
            )


def _touched(boxes: NDArray[np.float32], changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which boxes have a changed block under them."""
    under = [
        changed[
            int(y1 // _BLOCK_PIXELS) : math.ceil(y2 / _BLOCK_PIXELS),
            int(x1 // _BLOCK_PIXELS) : math.ceil(x2 / _BLOCK_PIXELS),
        ].any()
        for x1, y1, x2, y2 in boxes.tolist()
    ]
    return np.array(under, np.bool_)


def _as_places(boxes: NDArray[np.float32]) -> list[Place]:
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.tolist()]


def _those(found: Detections, which: NDArray[np.bool_]) -> Detections:
    return Detections(found.boxes[which], found.scores[which], found.classes[which])


def _all_known(cut: Detections, kept: Detections) -> bool:
    if not len(cut):
        return True
    same = (overlaps(cut.boxes, kept.boxes) >= _KNOWN) & (cut.classes[:, None] == kept.classes[None])
    return bool(same.any(axis=1).all())


def _joined(fresh: Detections, kept: Detections, *, iou: float) -> Detections:
    everything = Candidates(
        np.concatenate((fresh.boxes, kept.boxes)),
        np.concatenate((fresh.scores, kept.scores)),
        np.concatenate((fresh.classes, kept.classes)),
    )
    order = suppress(everything, iou=iou, limit=MAX_DETECTIONS)
    return Detections(everything.boxes[order], everything.scores[order], everything.classes[order])
