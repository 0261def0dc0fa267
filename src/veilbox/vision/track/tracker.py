"""From detections to regions: what waits for later frames, and what leaves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from veilbox.core.detections import MAX_DETECTIONS, Detections
from veilbox.core.errors import ProtocolError
from veilbox.core.exposure import Exposure
from veilbox.core.policy import Tracking
from veilbox.core.regions import Origin, Regions
from veilbox.vision.track.affinity import CERTAIN_IOU, affinities, match
from veilbox.vision.track.ledger import Ledger
from veilbox.vision.track.memory import Memory
from veilbox.vision.track.trail import Box, Moment, Trail

# As many as two full frames of detections of which none continues another. It bounds memory and the time of one
# frame when a detector sends noise.
MAX_TRAILS = 2 * MAX_DETECTIONS
_ALL_STRONG: Mapping[int, float] = MappingProxyType({})


class Tracker:
    """Follows detections through one film and says what to hide in each frame.

    A frame waits until `lookahead` later frames are known, so that what is found then also covers it; with low latency
    none does, and margins are larger. The rules:
    every strong detection is covered in its frame; a gap of at most `bridge` frames between two detections of one
    track is filled along the straight way between them; `extend` frames before the first and after the last
    detection are covered too, and so are frames that nobody analysed up to the next one that somebody did. A weak
    detection counts as strong where a track was lost within the last second: somebody comes out again from behind
    somebody else, half hidden still.

    Args:
        tracking: How far a track reaches.
        width: Columns of the coded frame.
        height: Rows of it.
        thresholds: By class index: detections with this score or more are strong. Weaker ones only keep tracks
            alive or lead up to them (the two score bands of ByteTrack, Zhang et al. 2022, section 3). Of a class
            that is not named every detection is strong.
        film: Whether frames follow one another, which only `exposure` asks.
        believe: Sightings from which on a track is covered although none was strong; None covers none such.

    Attributes:
        tracks: Tracks with a strong detection so far, by class index.
    """

    def __init__(
        self,
        tracking: Tracking,
        *,
        width: int,
        height: int,
        thresholds: Mapping[int, float] = _ALL_STRONG,
        film: bool = True,
        believe: int | None = None,
    ) -> None:
        self._believe = believe
        self.tracks: dict[int, int] = {}
        self._ledger = Ledger(film=film)
        self._tracking = tracking
        self._frame = (width, height)
        self._thresholds = thresholds
        self._waiting: deque[Moment] = deque()
        self._trails: list[Trail] = []
        self._memory = Memory(MAX_TRAILS)
        self._unproven: set[int] = set()
        self._born = 0
        self._last: Moment | None = None

    def push(self, sequence: int, detections: Detections | None, *, whole: bool = True, cut: bool = False) -> None:
        """Take what is known of the next frame.

        Args:
            sequence: One more than the last frame's.
            detections: In pixels of the coded frame; None if the frame was not analysed.
            whole: Whether all of the frame was analysed. If only parts were, what was found counts, and what was not
                found says nothing.
            cut: Whether it begins another scene: no track goes on in it, or reaches back from it.

        Raises:
            ProtocolError: The frame is not the next one, or there are more tracks than `MAX_TRAILS`.
        """
        moment = self._next_moment(sequence, analysed=whole and detections is not None, cut=cut)
        self._waiting.append(moment)
        if detections is not None:
            self._associate(moment, detections)

    def _next_moment(self, sequence: int, *, analysed: bool, cut: bool) -> Moment:
        if self._last is not None and sequence != self._last.sequence + 1:
            raise ProtocolError("a frame is out of order", expected=str(self._last.sequence + 1), actual=str(sequence))
        looks, scene = (self._last.looks, self._last.scene) if self._last is not None else (0, 0)
        self._last = Moment(sequence, looks + int(analysed), analysed, scene + int(cut))
        return self._last

    def ready(self) -> Iterator[tuple[int, Regions]]:
        """Frames whose look-ahead is known, in order, each once."""
        while len(self._waiting) > self._tracking.waiting:
            yield self._release()

    def flush(self) -> Iterator[tuple[int, Regions]]:
        """At the end of the film: all frames that still wait, in order."""
        while self._waiting:
            yield self._release()

    def _associate(self, moment: Moment, detections: Detections) -> None:
        strong = self._strong(detections)
        open_trails = [trail for trail in self._trails if trail.continues_at(moment, self._tracking)]
        for band in (strong, ~strong):
            chosen = np.flatnonzero(band)
            taken = self._continue(moment, detections, chosen, open_trails, strong)
            left = np.setdiff1d(chosen, taken)
            for index, believed in zip(left, self._believed(moment, detections, left), strict=True):
                self._begin(moment, detections, int(index), strong=bool(strong[index]), believed=bool(believed))
            open_trails = [trail for trail in open_trails if trail.unseen(moment)]

    def _believed(self, moment: Moment, detections: Detections, left: NDArray[np.intp]) -> NDArray[np.bool_]:
        known = [trail for trail in self._trails if self._known(trail)]
        return self._memory.explains(moment, detections, left, known)

    def _known(self, trail: Trail) -> bool:
        """Whether a track has a strong detection of its own; belief must not live on belief."""
        return trail.confirmed and trail.number not in self._unproven

    def _strong(self, detections: Detections) -> NDArray[np.bool_]:
        least = np.array([self._thresholds.get(kind, 0.0) for kind in detections.classes.tolist()], np.float32)
        strong: NDArray[np.bool_] = detections.scores >= least
        return strong

    def _continue(
        self,
        moment: Moment,
        detections: Detections,
        chosen: NDArray[np.intp],
        trails: list[Trail],
        strong: NDArray[np.bool_],
    ) -> list[int]:
        """Give each of the chosen detections to the track that it fits best; returns those that fitted one."""
        if not trails or not len(chosen):
            return []
        predicted = np.array([trail.predicted(moment) for trail in trails], np.float32)
        unseen = np.array([trail.unseen(moment) for trail in trails])
        scores = affinities(predicted, detections.boxes[chosen], unseen)
        kinds = np.array([trail.class_index for trail in trails])
        scores[kinds[:, None] != detections.classes[chosen][None]] = -np.inf
        taken = []
        for row, column in match(scores):
            index = int(chosen[column])
            certain = bool(scores[row, column] >= CERTAIN_IOU)
            self._see(trails[row], moment, detections, index, strong=bool(strong[index]), certain=certain)
            if strong[index]:
                self._unproven.discard(trails[row].number)
            taken.append(index)
        return taken

    def _begin(self, moment: Moment, detections: Detections, index: int, *, strong: bool, believed: bool) -> None:
        if len(self._trails) >= MAX_TRAILS:
            if not strong:
                return
            raise ProtocolError("more tracks than one picture can hold", expected=f"<= {MAX_TRAILS}")
        trail = Trail(self._born, int(detections.classes[index]))
        self._born += 1
        self._trails.append(trail)
        if believed and not strong:
            self._unproven.add(trail.number)
            self._see(trail, moment, detections, index, strong=True, certain=True)
        else:
            self._see(trail, moment, detections, index, strong=strong, certain=True)

    def _see(
        self, trail: Trail, moment: Moment, detections: Detections, index: int, *, strong: bool, certain: bool
    ) -> None:
        known = trail.confirmed
        if not strong and not known and self._believe is not None and trail.seen + 1 >= self._believe:
            self._unproven.add(trail.number)
            strong = True
        trail.see(moment, _box(detections.boxes[index]), strong=strong, certain=certain)
        self._ledger.saw(trail.number, trail.class_index, moment, float(detections.scores[index]))
        if trail.confirmed and not known:
            self.tracks[trail.class_index] = self.tracks.get(trail.class_index, 0) + 1

    def _release(self) -> tuple[int, Regions]:
        moment = self._waiting.popleft()
        covers = [
            (box, trail, origin)
            for trail in self._trails
            if trail.confirmed
            for box, origin in trail.covers(moment, self._tracking)
            if self._visible(box)
        ]
        self._ledger.left(moment, ((trail.number, origin) for _, trail, origin in covers))
        self._forget(moment)
        return moment.sequence, _regions(covers)

    def _visible(self, box: Box) -> bool:
        width, height = self._frame
        return box[0] < width and box[1] < height and box[2] >= 0 and box[3] >= 0

    def _forget(self, released: Moment) -> None:
        """Drop tracks that can neither go on nor cover a later frame, and sightings that are behind us."""
        latest = self._last or released
        kept = []
        for trail in self._trails:
            if trail.continues_at(latest, self._tracking) or not trail.over_at(released, self._tracking):
                trail.forget_before(released.sequence + 1)
                kept.append(trail)
            else:
                self._ledger.close(trail.number, confirmed=trail.confirmed)
                if self._known(trail):
                    self._memory.keep(trail)
                self._unproven.discard(trail.number)
        self._trails = kept

    def exposure(self, label: Callable[[int], str]) -> Exposure:
        """By what each track was covered; ends the film, so call it after `flush`.

        Args:
            label: The name of a class index.
        """
        for trail in self._trails:
            self._ledger.close(trail.number, confirmed=trail.confirmed)
        self._trails = []
        return self._ledger.exposure(label)


def _box(row: NDArray[np.float32]) -> Box:
    x1, y1, x2, y2 = row.tolist()
    return x1, y1, x2, y2


def _regions(covers: list[tuple[Box, Trail, Origin]]) -> Regions:
    if not covers:
        return Regions.empty()
    return Regions(
        boxes=np.array([box for box, _, _ in covers], np.float32),
        tracks=np.array([trail.number for _, trail, _ in covers], np.int32),
        classes=np.array([trail.class_index for _, trail, _ in covers], np.int32),
        origins=np.array([int(origin) for _, _, origin in covers], np.int32),
    )
