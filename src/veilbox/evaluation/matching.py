"""Which found box is which labelled one, and the curve of recall and precision that follows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilbox.evaluation.labels import Box, Label

# Low enough to forgive labels of differing tightness; hiding asks where somebody is, not how exactly.
IOU = 0.3
# Where bands of size begin, pixels; half an octave each, since what a detector needs is told in octaves.
BANDS = (0, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """One found box: xyxy in pixels of the picture as a viewer sees it."""

    category: str
    box: Box
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """What every threshold gives.

    Attributes:
        scores: Of all found boxes that count, falling.
        hits: Whether each was a labelled one.
        wanted: How many labels there were.
    """

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    wanted: int

    def at(self, threshold: float) -> tuple[float | None, float | None]:
        """Recall and precision of the boxes with this score or more; None where nothing was wanted or found."""
        count = int(np.count_nonzero(self.scores >= threshold))
        hits = int(np.count_nonzero(self.hits[:count]))
        return (hits / self.wanted if self.wanted else None), (hits / count if count else None)

    def recall_at(self, precision: float) -> float | None:
        """The best recall of any threshold that keeps this precision; 0 where none does, None without labels."""
        if not self.wanted:
            return None
        hits = np.cumsum(self.hits)
        # A threshold takes all boxes of one score or none.
        last = np.append(self.scores[1:] != self.scores[:-1], True)[: len(self.scores)]
        fit = last & (hits >= precision * np.arange(1, len(hits) + 1))
        return float(hits[fit].max(initial=0)) / self.wanted


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """Labels of about one size.

    Attributes:
        least: Square root of the area from which on a label belongs here, pixels.
        labels: How many there are, ignored ones left out.
        found: How many of them are matched by a box that counts.
    """

    least: int
    labels: int
    found: int


def curve(pictures: Iterable[tuple[Sequence[Label], Sequence[Scored]]], category: str, *, iou: float = IOU) -> Curve:
    """The curve of one class.

    Args:
        pictures: Labels and found boxes of each picture.
        category: The class.
        iou: Overlap from which on a box is a label's.
    """
    judged: list[tuple[float, bool]] = []
    wanted = 0
    for labels, found in _of(category, pictures):
        wanted += sum(not label.ignored for label in labels)
        judged += [(score, label is not None) for score, label in _judged(labels, found, iou)]
    judged.sort(key=lambda one: -one[0])
    return Curve(
        scores=np.array([score for score, _ in judged], np.float64),
        hits=np.array([hit for _, hit in judged], np.bool_),
        wanted=wanted,
    )


def bands(
    pictures: Iterable[tuple[Sequence[Label], Sequence[Scored]]], category: str, *, threshold: float, iou: float = IOU
) -> tuple[Band, ...]:
    """How many labels of each size are found; bands without labels are left out.

    Args:
        pictures: Labels and found boxes of each picture.
        category: The class.
        threshold: The score from which a box counts.
        iou: Overlap from which on a box is a label's.
    """
    labelled, matched = [0] * len(BANDS), [0] * len(BANDS)
    for labels, found in _of(category, pictures):
        for label in labels:
            labelled[_band(label)] += not label.ignored
        for score, hit in _judged(labels, found, iou):
            if hit is not None and score >= threshold:
                matched[_band(hit)] += 1
    counted = zip(BANDS, labelled, matched, strict=True)
    return tuple(Band(least=least, labels=wanted, found=hits) for least, wanted, hits in counted if wanted)


def _band(label: Label) -> int:
    side = math.sqrt(_area(label.box))
    return max(place for place, least in enumerate(BANDS) if side >= least)


def _of(
    category: str, pictures: Iterable[tuple[Sequence[Label], Sequence[Scored]]]
) -> Iterator[tuple[list[Label], list[Scored]]]:
    for labels, found in pictures:
        yield (
            [label for label in labels if label.category == category],
            [one for one in found if one.category == category],
        )


def _judged(labels: list[Label], found: list[Scored], iou: float) -> list[tuple[float, Label | None]]:
    """Best scores first, each box takes the free label that it overlaps most; what falls on ignored ones is out."""
    free = [label for label in labels if not label.ignored]
    ignored = [label.box for label in labels if label.ignored]
    judged: list[tuple[float, Label | None]] = []
    for one in sorted(found, key=lambda one: (-one.score, one.box)):
        best = max(free, key=lambda label: overlap(label.box, one.box), default=None)
        if best is not None and overlap(best.box, one.box) >= iou:
            free.remove(best)
            judged.append((one.score, best))
        elif not any(within(one.box, box) >= 0.5 for box in ignored):
            judged.append((one.score, None))
    return judged


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes; 0 where both are empty."""
    shared = _shared(a, b)
    union = _area(a) + _area(b) - shared
    return shared / union if union > 0 else 0.0


def within(box: Box, other: Box) -> float:
    """The share of a box that lies in another; 0 if it is empty."""
    area = _area(box)
    return _shared(box, other) / area if area > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _shared(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
