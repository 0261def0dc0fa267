"""Where in a film a detector looks: at the whole of every few frames, and between them only where it must.

A stretch lies between two frames that were looked at whole. What both show in one place, or where its speed says
that it should be, lies on a straight way that the tracker knows from both sides. Everything else is a question: a thing
that only one end shows, one that the model is not sure of, one that was lost lately, a change that neither end shows.
Questions are put to the frame in the middle, in the part of the picture around them, and what stays open to both
halves, down to every frame. A stretch never has more looks than frames, and where something appears, goes, flickers or
is unsure, every frame is looked at there.

Nothing here knows a model or a clock: pictures come as glimpses, and who uses it looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from veilbox.core.detections import Detections
from veilbox.core.frozen import frozen
from veilbox.core.seen import Seen
from veilbox.vision.detect.nms import overlaps
from veilbox.vision.detect.parts import Place

# A glimpse takes every fourth sample of a row and of a column, green alone, which is most of luma; four by four of them
# are a block.
_STEP, _BLOCK = 4, 4
_BLOCK_PIXELS = _STEP * _BLOCK
# Change of a block's mean, of 255, from which on something else is there. Between neighbouring frames of four films
# 12 marks 1 to 14 % of the blocks, wherever anything moves; at 30 what moves over a plain ground is not a change.
_MOVED, _ANOTHER = 12.0, 30.0
# Fewer blocks than this are no face that a detector finds.
_LEAST_BLOCKS = 2
# Share of blocks that move from one frame to the next at a cut; without cuts those films had 0.14 at most.
_CUT = 0.4
# Overlap from which on boxes of two frames are one thing.
_SAME = 0.4
# How far a thing gets in a frame, in its own sides: as in the tracker's affinities. One that the model is not sure of
# is asked for where it is, and so is one that was lost.
_SIDES_PER_FRAME, _UNSURE_SIDES_PER_FRAME = 0.35, 0.1
# A detector's boxes tremble by less than this share of a side.
_TREMBLE = 0.25
_LOST_SIDES = 0.5
# With more places than this the whole picture is looked at: sorting them out would take longer.
_MOST_PLACES = 64
# Frames for which a thing that was lost is asked for: as many as the tracker bridges.
_LOST_FRAMES = 12

Boxes = NDArray[np.float32]
Glimpse = NDArray[np.float32]
Look = Callable[[int, Sequence[Place] | None], Detections]


@frozen(kw_only=False)
class Answer:
    """What is known of one frame.

    Attributes:
        index: As it was given.
        seen: How much of it was looked at.
        found: What was found there.
    """

    index: int
    seen: Seen
    found: Detections


def glimpse(picture: NDArray[np.uint8]) -> Glimpse:
    """A picture as a few hundred numbers.

    Args:
        picture: (rows, columns, 3) uint8 RGB, sides at least 16.

    Returns:
        (rows / 16, columns / 16) float32, rounded down: the mean of green in each block.
    """
    sparse = picture[_STEP // 2 :: _STEP, _STEP // 2 :: _STEP, 1]
    rows, columns = (side // _BLOCK for side in sparse.shape)
    blocks = sparse[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    means: Glimpse = blocks.mean(axis=(1, 3), dtype=np.float32)
    return means


@dataclass(slots=True)
class _Frame:
    """One frame of a stretch; `speed` is (N, 2), pixels a frame, of what was found at a stretch's start."""

    index: int
    glimpse: Glimpse
    seen: Seen = Seen.NOT
    found: Detections = field(default_factory=Detections.empty)
    speed: Boxes = field(default_factory=lambda: np.zeros((0, 2), np.float32))

    def expected(self, index: int) -> Boxes:
        """The boxes of what was found, moved on to another frame."""
        if not len(self.speed):
            return self.found.boxes
        moved: Boxes = self.found.boxes + np.tile(self.speed, 2) * np.float32(index - self.index)
        return moved

    def missing_in(self, other: _Frame) -> NDArray[np.bool_]:
        """Which of what was found another frame does not show, neither in its place nor where a known speed leads."""
        here, there = self.found.boxes, other.found.boxes
        shown = _met(here, there, self.found, other.found)
        if len(self.speed):
            shown |= _met(self.expected(other.index), there, self.found, other.found)
        if len(other.speed):
            shown |= _met(here, other.expected(self.index), self.found, other.found)
        return ~shown


class AdaptiveStride:
    """Chooses the looks at one film.

    Args:
        look: Looks at a frame that was taken and not yet answered, at the whole of it or around some places.
        longest: Frames from one whole look to the next: those whose index it divides are looked at whole.
        threshold: From this score on a detection counts.
        floor: From this score on what does not count is unsure; what is below is noise.
    """

    def __init__(self, look: Look, *, longest: int, threshold: float, floor: float) -> None:
        self._look = look
        self._longest = longest
        self._threshold = threshold
        self._floor = floor
        self._start: _Frame | None = None
        self._waiting: list[_Frame] = []
        # Places where something was lost, with the last frame in which it is asked for.
        self._lost: list[tuple[Place, int]] = []

    def take(self, index: int, seen: Glimpse) -> Iterator[Answer]:
        """Take the next frame.

        Args:
            index: One more than the last one's, from 0.
            seen: Its glimpse.

        Yields:
            Frames of which all is known now, in order.
        """
        frame = _Frame(index, seen)
        before = self._waiting[-1] if self._waiting else self._start
        if before is None or _is_cut(before.glimpse, seen):
            yield from self._settle()
            yield self._restart(frame)
            return
        self._waiting.append(frame)
        if index % self._longest == 0:
            yield from self._settle()

    def end(self) -> Iterator[Answer]:
        """Answer what still waits; the last frame is looked at whole."""
        yield from self._settle()
        self._start = None

    def _restart(self, frame: _Frame) -> Answer:
        self._see(frame, None)
        self._start, self._lost = frame, []
        return _answer(frame)

    def _settle(self) -> Iterator[Answer]:
        if self._start is None or not self._waiting:
            return
        stretch, self._waiting = [self._start, *self._waiting], []
        end = stretch[-1]
        self._see(end, None)
        lost = [place for place, until in self._lost if until >= stretch[0].index]
        self._ask(stretch, [*self._open(stretch), *lost, *_changes(stretch)])
        end.speed = _speeds(stretch)
        self._remember_lost([frame for frame in stretch if frame.seen])
        self._start = end
        yield from map(_answer, stretch[1:])

    def _see(self, frame: _Frame, places: Sequence[Place] | None) -> None:
        frame.found = self._look(frame.index, places)
        frame.seen = Seen.WHOLE if places is None else Seen.PARTS

    def _ask(self, frames: list[_Frame], places: list[Place]) -> None:
        """Look in the middle of some frames, and go on in both halves with what stays open."""
        if len(frames) < 3 or not places:
            return
        middle = len(frames) // 2
        asked = places if len(places) <= _MOST_PLACES else None
        self._see(frames[middle], asked)
        for half in (frames[: middle + 1], frames[middle:]):
            self._ask(half, [place for place in self._open(half) if asked is None or _inside(place, asked)])

    def _open(self, frames: list[_Frame]) -> list[Place]:
        """Where the two ends of some frames do not tell the same."""
        first, last = frames[0], frames[-1]
        return [*self._unexplained(first, last), *self._unexplained(last, first)]

    def _unexplained(self, frame: _Frame, other: _Frame) -> Iterator[Place]:
        found, half = frame.found, abs(other.index - frame.index) / 2
        strong = found.scores >= self._threshold
        yield from _around(found.boxes[strong & frame.missing_in(other)], _TREMBLE + _SIDES_PER_FRAME * half)
        sure = _those(other.found, other.found.scores >= self._threshold)
        unsure = ~strong & (found.scores >= self._floor) & ~_touches(found, sure)
        yield from _around(found.boxes[unsure], _TREMBLE + _UNSURE_SIDES_PER_FRAME * half)

    def _remember_lost(self, looked: list[_Frame]) -> None:
        """What one look shows and the next, at the very next frame, does not."""
        end = looked[-1].index
        self._lost = [(place, until) for place, until in self._lost if until > end]
        for frame, following in pairwise(looked):
            if following.index == frame.index + 1:
                gone = (frame.found.scores >= self._threshold) & frame.missing_in(following)
                places = _around(frame.found.boxes[gone], _LOST_SIDES)
                self._lost += [(place, following.index + _LOST_FRAMES) for place in places]


def _answer(frame: _Frame) -> Answer:
    return Answer(frame.index, frame.seen, frame.found)


def _is_cut(before: Glimpse, after: Glimpse) -> bool:
    return float(np.mean(np.abs(before - after) > _MOVED)) >= _CUT


def _changes(frames: list[_Frame]) -> list[Place]:
    """Blocks that show in some frame between what neither end shows."""
    low, high = np.minimum(frames[0].glimpse, frames[-1].glimpse), np.maximum(frames[0].glimpse, frames[-1].glimpse)
    new = np.zeros(low.shape, np.bool_)
    for frame in frames[1:-1]:
        new |= np.maximum(low - frame.glimpse, frame.glimpse - high) > _ANOTHER
    if np.count_nonzero(new) < _LEAST_BLOCKS:
        return []
    corners = [(float(x) * _BLOCK_PIXELS, float(y) * _BLOCK_PIXELS) for y, x in np.argwhere(new)]
    return [(x, y, x + _BLOCK_PIXELS, y + _BLOCK_PIXELS) for x, y in corners]


def _speeds(frames: list[_Frame]) -> Boxes:
    """How fast moves what the last frame shows, by the latest frame before it that shows it too; 0 if none does."""
    end = frames[-1]
    speed = np.zeros((len(end.found), 2), np.float32)
    unknown = np.ones(len(end.found), np.bool_)
    for frame in reversed(frames[:-1]):
        if not len(frame.found) or not unknown.any():
            continue
        shared = _shared(end.found.boxes, frame.expected(end.index), end.found, frame.found)
        best = shared.argmax(axis=1)
        known = unknown & (shared.max(axis=1) >= _SAME)
        way = _middles(end.found.boxes) - _middles(frame.found.boxes[best])
        speed[known] = way[known] / (end.index - frame.index)
        unknown &= ~known
    return speed


def _met(here: Boxes, there: Boxes, found: Detections, others: Detections) -> NDArray[np.bool_]:
    """Which of what was found, taken to be here, is one with something of its class, taken to be there.

    Two that overlap the same are not both one with it: one of them may be behind the other.
    """
    if not len(there) or not len(here):
        return np.zeros(len(here), np.bool_)
    shared = _shared(here, there, found, others)
    best = shared.argmax(axis=1)
    mutual = shared.argmax(axis=0)[best] == np.arange(len(here))
    met: NDArray[np.bool_] = np.logical_and(shared.max(axis=1) >= _SAME, mutual)
    return met


def _touches(found: Detections, others: Detections) -> NDArray[np.bool_]:
    """Which of what was found overlaps anything of its class."""
    if not len(others):
        return np.zeros(len(found), np.bool_)
    close = _shared(found.boxes, others.boxes, found, others) >= _SAME
    touches: NDArray[np.bool_] = np.asarray(close.any(axis=1), np.bool_)
    return touches


def _shared(here: Boxes, there: Boxes, found: Detections, others: Detections) -> Boxes:
    """(N, M): overlaps, 0 between classes."""
    return np.where(found.classes[:, None] == others.classes[None], overlaps(here, there), np.float32(0))


def _those(found: Detections, which: NDArray[np.bool_]) -> Detections:
    return Detections(found.boxes[which], found.scores[which], found.classes[which])


def _middles(boxes: Boxes) -> Boxes:
    middles: Boxes = (boxes[:, :2] + boxes[:, 2:]) / np.float32(2)
    return middles


def _around(boxes: Boxes, sides: float) -> Iterator[Place]:
    """Boxes grown by so many of their sides."""
    for x1, y1, x2, y2 in boxes.tolist():
        reach = sides * max(x2 - x1, y2 - y1)
        yield x1 - reach, y1 - reach, x2 + reach, y2 + reach


def _inside(place: Place, places: Sequence[Place]) -> bool:
    """Whether a place's middle was asked for."""
    x, y = (place[0] + place[2]) / 2, (place[1] + place[3]) / 2
    return any(x1 <= x < x2 and y1 <= y < y2 for x1, y1, x2, y2 in places)
