"""What was seen in an output's frames, put together to one finding for each track."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from veilbox.core.findings import MOST_FRAMES, Finding, FindingKind, Look
from veilbox.core.regions import Regions

# A detection of which so much lies in a hidden region is the cover itself, not a face beside it.
_IN_COVER = 0.5
# Two detections in frames that were looked at one after the other are one track's from this overlap on, as in SORT
# (Bewley et al. 2016, section 3.3).
_SAME = 0.3
# Looks that a track may miss.
_MISSES = 2


@dataclass(slots=True)
class _Track:
    """What was seen of one thing."""

    kind: FindingKind
    number: int
    looks: list[Look] = field(default_factory=list)
    box: NDArray[np.float32] = field(default_factory=lambda: np.zeros(4, np.float32))
    count: int = 0
    first: int = 0
    last: int = 0

    def see(self, frame: int, score: float) -> None:
        """It was seen in a frame."""
        self.first = frame if self.count == 0 else self.first
        self.last, self.count = frame, self.count + 1
        self.looks.append(Look(frame=frame, score=round(score, 3)))
        if len(self.looks) > MOST_FRAMES:
            self.looks.remove(min(self.looks, key=lambda look: look.score))

    def finding(self, label: str) -> Finding:
        """As it is reported."""
        return Finding(
            kind=self.kind,
            what=label,
            where=f"track {self.number}",
            count=self.count,
            score=max(look.score for look in self.looks),
            first=self.first,
            last=self.last,
            looks=tuple(self.looks),
        )


class Gathered:
    """Everything that was seen in one output.

    Args:
        stride: Frames from one second look to the next.
        most: The change of a region, as `vision.redact.uncovered` tells, up to which it counts as hidden.
    """

    def __init__(self, *, stride: int, most: float) -> None:
        self._most = most
        self._gap = stride * (_MISSES + 1)
        self._regions: dict[int, _Track] = {}
        self._zones = _Track(FindingKind.UNCOVERED, 0)
        self._seen: list[tuple[int, _Track]] = []

    def regions(self, frame: int, regions: Regions, changes: NDArray[np.float32]) -> None:
        """Take in how far a frame's regions are from hidden.

        Args:
            frame: From 0.
            regions: N of them.
            changes: (N,) as `uncovered` tells.
        """
        for index in np.flatnonzero(changes > self._most):
            number = int(regions.tracks[index])
            track = self._regions.setdefault(number, _Track(FindingKind.UNCOVERED, number))
            track.see(frame, float(changes[index]))

    def zones(self, frame: int, shown: float) -> None:
        """Take in how far a frame's hidden zones are from black, as `Zones.shown` tells."""
        if shown > self._most:
            self._zones.see(frame, shown)

    def detections(
        self,
        frame: int,
        boxes: NDArray[np.float32],
        scores: NDArray[np.float32],
        classes: NDArray[np.int32],
        regions: Regions,
        margin: float,
    ) -> None:
        """Take in what the second look at a frame saw.

        Args:
            frame: From 0.
            boxes: (N, 4) in pixels of the frame.
            scores: (N,).
            classes: (N,).
            regions: What was to be hidden in the frame.
            margin: Of the redaction.
        """
        outside = _share_inside(boxes, _grown(regions.boxes, margin)) < _IN_COVER
        for index in np.flatnonzero(outside):
            track = self._track(frame, boxes[index], int(classes[index]))
            track.box = boxes[index]
            track.see(frame, float(scores[index]))

    def _track(self, frame: int, box: NDArray[np.float32], kind: int) -> _Track:
        near = [
            (float(_overlap(track.box, box)), track)
            for known, track in self._seen
            if known == kind and track.last < frame <= track.last + self._gap
        ]
        best = max(near, key=lambda pair: pair[0], default=None)
        if best is not None and best[0] >= _SAME:
            return best[1]
        self._seen.append((kind, _Track(FindingKind.RESIDUAL, len(self._seen))))
        return self._seen[-1][1]

    def findings(self, label: Callable[[int], str]) -> Iterator[Finding]:
        """One for each track, regions first.

        Args:
            label: Names the class of a detection.
        """
        if self._zones.count:
            yield replace(self._zones.finding("zone not hidden"), where="")
        for track in self._regions.values():
            yield track.finding("region not hidden")
        for kind, track in self._seen:
            yield track.finding(label(kind))


def _grown(boxes: NDArray[np.float32], margin: float) -> NDArray[np.float32]:
    extent = np.tile(boxes[:, 2:] - boxes[:, :2], 2) * np.float32(margin)
    return boxes + extent * np.array((-1, -1, 1, 1), np.float32)


def _share_inside(boxes: NDArray[np.float32], covers: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) the largest share of each box that one cover holds; 0 without covers."""
    low = np.maximum(boxes[:, None, :2], covers[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], covers[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
    share: NDArray[np.float32] = (shared / area[:, None]).max(axis=1, initial=0)
    return share


def _overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union."""
    shared = float(np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0).prod())
    areas = float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod())
    return shared / max(areas - shared, 1e-9)
