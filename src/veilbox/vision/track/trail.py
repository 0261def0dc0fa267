"""One track: where it was seen, and where it must have been in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from veilbox.core.frozen import frozen
from veilbox.core.policy import Tracking
from veilbox.core.regions import Origin

# xyxy in pixels of the coded frame, half-open. Plain floats: a track handles one box at a time, and small arrays
# cost ten times as much.
Box = tuple[float, float, float, float]
Velocity = tuple[float, float]

# Share of the box's sides that an extended box grows on each side for every frame away from the detection, and the
# most it grows in all. A walking face changes its side by about 2 % a frame at 30 frames a second.
_EXTENSION_GROWTH = 0.03
_LARGEST_GROWTH = 0.5
# The same for an interpolated box and the nearer detection; motion between two looks is known to bend less.
_INTERPOLATION_GROWTH = 0.02
# With low latency nothing corrects a box afterwards. Every box grows by this share of its sides on each side, and
# extended ones faster by this factor: the way that interpolation would have found may have bent.
_LIVE_GROWTH = 0.1
_LIVE_FACTOR = 2.0
# Weight of the newest step in a track's velocity: a detector's boxes tremble by a pixel or two from frame to frame.
_NEWEST_STEP = 0.5


@frozen(kw_only=False)
class Moment:
    """One frame as the tracker knows it.

    Attributes:
        sequence: The frame's number.
        looks: How many frames were analysed whole up to and including this one.
        analysed: Whether a detector looked at all of this one.
        scene: How many cuts came before; nothing of one scene goes on in another.
    """

    sequence: int
    looks: int
    analysed: bool
    scene: int = 0


@frozen(kw_only=False)
class Sighting:
    """One detection of a track.

    Attributes:
        moment: The frame.
        box: The detection.
        velocity: The track's motion at that time, pixels a frame.
        certain: Whether overlap tied it to the track; else only nearness did.
    """

    moment: Moment
    box: Box
    velocity: Velocity
    certain: bool


@dataclass(slots=True)
class Trail:
    """One track. Only sightings that a waiting frame can still need are kept.

    Attributes:
        number: Its number, unique in the film.
        class_index: As in `Detections`.
        confirmed: Whether any sighting was strong; only then is anything covered.
        sightings: In order, at least one.
        seen: How many sightings there were in all.
    """

    number: int
    class_index: int
    confirmed: bool = False
    sightings: list[Sighting] = field(default_factory=list)
    seen: int = 0

    def see(self, moment: Moment, box: Box, *, strong: bool, certain: bool) -> None:
        """Add a detection later than all before."""
        velocity = self._velocity_to(moment, box) if self.sightings else (0.0, 0.0)
        self.sightings.append(Sighting(moment, box, velocity, certain))
        self.confirmed = self.confirmed or strong
        self.seen += 1

    def _velocity_to(self, moment: Moment, box: Box) -> Velocity:
        last = self.sightings[-1]
        step = _step(last, moment, box)
        if self.seen == 1:
            return step
        dx, dy = last.velocity
        return dx + _NEWEST_STEP * (step[0] - dx), dy + _NEWEST_STEP * (step[1] - dy)

    def predicted(self, moment: Moment) -> Box:
        """Where the track should be in a later frame, at constant velocity."""
        last = self.sightings[-1]
        return _moved(last.box, last.velocity, moment.sequence - last.moment.sequence)

    def unseen(self, moment: Moment) -> int:
        """Frames since the last sighting."""
        return moment.sequence - self.sightings[-1].moment.sequence

    def continues_at(self, moment: Moment, tracking: Tracking) -> bool:
        """Whether a detection in a later frame may still belong to this track.

        Frames that nobody looked at say nothing against it, however many they are.
        """
        last = self.sightings[-1].moment
        if moment.scene != last.scene:
            return False
        looks_between = moment.looks - last.looks - int(moment.analysed)
        return self.unseen(moment) - 1 <= tracking.bridge or looks_between == 0

    def forget_before(self, oldest: int) -> None:
        """Drop sightings that no frame from `oldest` on needs; the last one before it starts a gap and stays."""
        while len(self.sightings) > 1 and self.sightings[1].moment.sequence <= oldest:
            del self.sightings[0]

    def over_at(self, moment: Moment, tracking: Tracking) -> bool:
        """Whether the track covers neither this frame nor any later one, if it is not seen again."""
        last = self.sightings[-1]
        return moment.sequence > last.moment.sequence and not _reaches_forward(last, moment, tracking)

    def covers(self, moment: Moment, tracking: Tracking) -> Iterator[tuple[Box, Origin]]:
        """What must be hidden of this track in one frame.

        Yields:
            Nothing, one box, or, where a gap was closed by nearness alone, also what each end of the gap would
            cover by itself: two strangers may have been taken for one.
        """
        for box, origin in self._covers(moment, tracking):
            yield (_grown(box, _LIVE_GROWTH) if tracking.low_latency else box), origin

    def _covers(self, moment: Moment, tracking: Tracking) -> Iterator[tuple[Box, Origin]]:
        before, after = self._around(moment.sequence)
        if before is not None and before.moment.sequence == moment.sequence:
            yield before.box, Origin.DETECTED
            return
        if before is not None and after is not None:
            yield _between(before, after, moment.sequence), Origin.INTERPOLATED
            if after.certain:
                return
        if before is not None and _reaches_forward(before, moment, tracking):
            yield _extended(before, before.velocity, moment.sequence, tracking), Origin.EXTENDED
        if after is not None and _reaches_back(after, moment, tracking):
            yield _extended(after, self._velocity_from(after), moment.sequence, tracking), Origin.EXTENDED

    def _around(self, sequence: int) -> tuple[Sighting | None, Sighting | None]:
        before = None
        for sighting in self.sightings:
            if sighting.moment.sequence > sequence:
                return before, sighting
            before = sighting
        return before, None

    def _velocity_from(self, sighting: Sighting) -> Velocity:
        """The motion right after a sighting, for looking back from it."""
        index = self.sightings.index(sighting) + 1
        if index == len(self.sightings):
            return sighting.velocity
        following = self.sightings[index]
        return _step(sighting, following.moment, following.box)


def _step(start: Sighting, moment: Moment, box: Box) -> Velocity:
    frames = moment.sequence - start.moment.sequence
    (x1, y1, x2, y2), (u1, v1, u2, v2) = start.box, box
    return (u1 + u2 - x1 - x2) / 2 / frames, (v1 + v2 - y1 - y2) / 2 / frames


def _moved(box: Box, velocity: Velocity, frames: int) -> Box:
    dx, dy = velocity[0] * frames, velocity[1] * frames
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy


def _grown(box: Box, share: float) -> Box:
    x, y = (box[2] - box[0]) * share, (box[3] - box[1]) * share
    return box[0] - x, box[1] - y, box[2] + x, box[3] + y


def _hull(box: Box, other: Box) -> Box:
    return min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3])


def _between(before: Sighting, after: Sighting, sequence: int) -> Box:
    """The straight way from one box to the next, grown by the distance in time to the nearer one."""
    since, until = sequence - before.moment.sequence, after.moment.sequence - sequence
    share = since / (since + until)
    x1, y1, x2, y2 = (a + (b - a) * share for a, b in zip(before.box, after.box, strict=True))
    return _grown((x1, y1, x2, y2), min(_INTERPOLATION_GROWTH * min(since, until), _LARGEST_GROWTH))


def _extended(sighting: Sighting, velocity: Velocity, sequence: int, tracking: Tracking) -> Box:
    """From the box to where it was heading, because it may have stopped or gone on."""
    frames = sequence - sighting.moment.sequence
    swept = _hull(sighting.box, _moved(sighting.box, velocity, frames))
    factor = _LIVE_FACTOR if tracking.low_latency else 1.0
    growth = min(_EXTENSION_GROWTH * abs(frames), _LARGEST_GROWTH) * factor
    return _hull(swept, _hull(_grown(sighting.box, growth), _grown(_moved(sighting.box, velocity, frames), growth)))


def _reaches_forward(last: Sighting, moment: Moment, tracking: Tracking) -> bool:
    near = moment.sequence - last.moment.sequence <= tracking.after
    return moment.scene == last.moment.scene and (near or moment.looks == last.moment.looks)


def _reaches_back(first: Sighting, moment: Moment, tracking: Tracking) -> bool:
    near = first.moment.sequence - moment.sequence <= tracking.extend
    looks_between = first.moment.looks - int(first.moment.analysed) - moment.looks + int(moment.analysed)
    return moment.scene == first.moment.scene and (near or looks_between == 0)
