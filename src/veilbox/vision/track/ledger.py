"""What covered each track in each frame, counted as frames leave; memory does not grow with the film."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from veilbox.core.exposure import (
    KINDS,
    MOST_BINS,
    MOST_DRAWN,
    MOST_WEAK,
    SCORE_BINS,
    SHORT_FRAMES,
    DoubtfulTrack,
    Exposure,
    TrackExposure,
)
from veilbox.core.regions import Origin
from veilbox.vision.track.trail import Moment

_DETECTED, _INTERPOLATED, _AHEAD, _BEHIND = range(len(KINDS))


@dataclass(slots=True)
class _Record:
    """One track so far."""

    number: int
    class_index: int
    first_seen: Moment
    last_seen: Moment
    seen: int = 0
    gaps: int = 0
    longest_gap: int = 0
    best: float = 0.0
    weakest: float = 1.0
    first: int = -1
    last: int = -1
    kinds: list[int] = field(default_factory=lambda: [0] * len(KINDS))
    scores: list[int] = field(default_factory=lambda: [0] * SCORE_BINS)

    @property
    def covered(self) -> int:
        return sum(self.kinds)


# By what is ranked, then the younger track last; no two are equal up to here.
_Ranked = tuple[float, int, _Record]


class _Timeline:
    """Sums over equal parts of a film whose length is not known: when there are too many, two become one."""

    def __init__(self) -> None:
        self.bins: list[list[int]] = []
        self.frames = 1

    def add(self, frame: int, kind: int) -> None:
        while frame // self.frames >= MOST_BINS:
            self._halve()
        place = frame // self.frames
        while len(self.bins) <= place:
            self.bins.append([0] * len(KINDS))
        self.bins[place][kind] += 1

    def _halve(self) -> None:
        pairs = [self.bins[start : start + 2] for start in range(0, len(self.bins), 2)]
        self.bins = [[sum(column) for column in zip(*pair, strict=True)] for pair in pairs]
        self.frames *= 2


class Ledger:
    """Counts for the exposure report of one film or picture.

    Args:
        film: Whether frames follow one another; else nothing is told of time.
    """

    def __init__(self, *, film: bool = True) -> None:
        self._film = film
        self._open: dict[int, _Record] = {}
        self._base: int | None = None
        self._frames = [0] * len(KINDS)
        self._scores = [0] * SCORE_BINS
        self._short = self._gaps = self._longest_gap = self._uncovered = 0
        # Heaps of bounded length: the least of them goes when a greater one comes.
        self._weakest: list[_Ranked] = []
        self._doubtful: list[_Ranked] = []
        self._drawn: list[_Ranked] = []
        self._timeline = _Timeline()

    def saw(self, number: int, class_index: int, moment: Moment, score: float) -> None:
        """A detection was given to a track.

        Args:
            number: The track's.
            class_index: Its class.
            moment: The frame.
            score: Of the detection; what is beyond 0 to 1 counts as the nearer of these.
        """
        score = min(max(score, 0.0), 1.0)
        record = self._open.get(number)
        if record is None:
            record = self._open[number] = _Record(number, class_index, moment, moment)
        elif moment.looks - record.last_seen.looks > 1:
            record.gaps += 1
            record.longest_gap = max(record.longest_gap, moment.sequence - record.last_seen.sequence - 1)
        record.last_seen = moment
        record.seen += 1
        record.best, record.weakest = max(record.best, score), min(record.weakest, score)
        record.scores[min(int(score * SCORE_BINS), SCORE_BINS - 1)] += 1

    def left(self, moment: Moment, covers: Iterable[tuple[int, Origin]]) -> None:
        """A frame leaves.

        Args:
            moment: The frame.
            covers: Track and origin of each box in it.
        """
        self._base = moment.sequence if self._base is None else self._base
        frame = moment.sequence - self._base
        surest: dict[int, int] = {}
        for number, origin in covers:
            kind = self._kind(number, moment, origin)
            surest[number] = min(surest.get(number, kind), kind)
        for number, kind in surest.items():
            record = self._open[number]
            record.first = frame if record.first < 0 else record.first
            record.last = frame
            record.kinds[kind] += 1
            if self._film:
                self._timeline.add(frame, kind)
        for kind in set(surest.values()):
            self._frames[kind] += 1

    def _kind(self, number: int, moment: Moment, origin: Origin) -> int:
        if origin is not Origin.EXTENDED:
            return _DETECTED if origin is Origin.DETECTED else _INTERPOLATED
        return _AHEAD if moment.sequence < self._open[number].first_seen.sequence else _BEHIND

    def close(self, number: int, *, confirmed: bool) -> None:
        """A track ended; one that never was strong was never covered and is counted apart."""
        record = self._open.pop(number, None)
        if record is None:
            return
        if not confirmed:
            self._uncovered += 1
            _keep(self._doubtful, (record.seen + record.best, -record.number, record), MOST_WEAK)
            return
        self._gaps += record.gaps
        self._longest_gap = max(self._longest_gap, record.longest_gap)
        self._short += int(self._film and record.seen < SHORT_FRAMES)
        self._scores = [total + own for total, own in zip(self._scores, record.scores, strict=True)]
        _keep(self._weakest, (-record.best, -record.number, record), MOST_WEAK)
        if self._film and record.covered:
            _keep(self._drawn, (record.covered, -record.number, record), MOST_DRAWN)

    def exposure(self, label: Callable[[int], str]) -> Exposure:
        """What was counted, once every frame has left and every track is closed.

        Args:
            label: The name of a class.
        """
        weakest = sorted(self._weakest, reverse=True)
        drawn = sorted(self._drawn, key=lambda one: (one[2].first, one[2].number))
        return Exposure(
            short=self._short,
            gaps=self._gaps,
            longest_gap=self._longest_gap,
            frames=dict(zip(KINDS, self._frames, strict=True)),
            scores=tuple(self._scores),
            weakest=tuple(_told(record, label) for _, _, record in weakest),
            uncovered=self._uncovered,
            doubtful=tuple(self._doubt(record, label) for _, _, record in sorted(self._doubtful, reverse=True)),
            drawn=tuple(_told(record, label) for _, _, record in drawn),
            bins=tuple((one[0], one[1], one[2], one[3]) for one in self._timeline.bins),
            bin_frames=self._timeline.frames,
        )

    def _doubt(self, record: _Record, label: Callable[[int], str]) -> DoubtfulTrack:
        base = self._base or 0
        return DoubtfulTrack(
            label=label(record.class_index),
            first=record.first_seen.sequence - base,
            last=record.last_seen.sequence - base,
            seen=record.seen,
            best=round(record.best, 3),
        )


def _keep(heap: list[_Ranked], one: _Ranked, most: int) -> None:
    if len(heap) < most:
        heapq.heappush(heap, one)
    else:
        heapq.heappushpop(heap, one)


def _told(record: _Record, label: Callable[[int], str]) -> TrackExposure:
    return TrackExposure(
        track=record.number,
        label=label(record.class_index),
        first=max(record.first, 0),
        last=max(record.last, 0),
        detected=record.kinds[_DETECTED],
        interpolated=record.kinds[_INTERPOLATED],
        ahead=record.kinds[_AHEAD],
        behind=record.kinds[_BEHIND],
        gaps=record.gaps,
        longest_gap=record.longest_gap,
        best=round(record.best, 3),
        weakest=round(record.weakest, 3),
    )
