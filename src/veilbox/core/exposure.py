"""How somebody was covered, in numbers: which tracks, by what, and how sure the detector was. No boxes, no pixels."""

from __future__ import annotations

from dataclasses import field

from veilbox.core.errors import ProtocolError
from veilbox.core.frozen import frozen

# A track seen in fewer frames than this is short: below a sixth of a second at 30 frames a second a detection is as
# likely a flicker as a face, and a face that was found so rarely may have been missed before and after.
SHORT_FRAMES = 5
# Scores are counted in so many equal parts of [0, 1].
SCORE_BINS = 20
# So many tracks are told of one by one: the weakest, and those that are drawn. One takes some 150 bytes of JSON, a
# control message holds 256 KiB, and a report may tell of thousands of outputs.
MOST_WEAK = 10
MOST_DRAWN = 60
# A film's time is told in at most so many equal parts.
MOST_BINS = 240
# What covers a track in a frame, the surest first. Ahead: before the first detection, known from what follows.
# Behind: after the last one.
KINDS = ("detected", "interpolated", "ahead", "behind")


@frozen
class TrackExposure:
    """One track.

    Attributes:
        track: Its number in the film.
        label: Its class.
        first: First frame in which anything of it is covered, from 0.
        last: The last one.
        detected: Frames covered by a detection.
        interpolated: Frames covered between two detections.
        ahead: Frames covered before the first detection (look-ahead).
        behind: Frames covered after the last one (look-behind).
        gaps: Times that the detector looked, did not find it, and found it again.
        longest_gap: Frames of the longest of these.
        best: Its highest score.
        weakest: Its lowest.
    """

    track: int
    label: str
    first: int
    last: int
    detected: int
    interpolated: int
    ahead: int
    behind: int
    gaps: int
    longest_gap: int
    best: float
    weakest: float

    def __post_init__(self) -> None:
        numbers = (self.track, self.first, self.last, self.detected, self.interpolated, self.ahead, self.behind)
        if min(*numbers, self.gaps, self.longest_gap) < 0 or not 0 <= self.weakest <= self.best <= 1:
            raise ProtocolError("a track that cannot be", actual=f"track {self.track}")


@frozen
class DoubtfulTrack:
    """One track that was never covered, because no detection of it was strong.

    Attributes:
        label: Its class.
        first: Frame of its first sighting, from 0.
        last: Of its last one.
        seen: How many there were.
        best: Its highest score.
    """

    label: str
    first: int
    last: int
    seen: int
    best: float

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last or self.seen < 1 or not 0 <= self.best <= 1:
            raise ProtocolError("a track that cannot be", actual=f"frames {self.first} to {self.last}")


@frozen
class Exposure:
    """One film or picture.

    Attributes:
        short: Tracks seen in fewer than `SHORT_FRAMES` frames; 0 for pictures.
        gaps: Gaps closed, of all tracks.
        longest_gap: Frames of the longest.
        frames: By kind (`KINDS`), frames in which it covered at least one track.
        scores: Detections of all tracks by score, `SCORE_BINS` equal parts of [0, 1].
        weakest: Tracks with the lowest best score, the weakest first, at most `MOST_WEAK`.
        uncovered: Tracks that were never covered: every detection of them was too weak to count.
        doubtful: Those of them that were seen most often, at most `MOST_WEAK`.
        drawn: Tracks that were covered longest, by first frame, at most `MOST_DRAWN`; none of pictures.
        bins: Covered tracks of each part of the film, summed over its frames, by kind; none of pictures.
        bin_frames: Frames of each part.
    """

    short: int = 0
    gaps: int = 0
    longest_gap: int = 0
    frames: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    scores: tuple[int, ...] = (0,) * SCORE_BINS
    weakest: tuple[TrackExposure, ...] = ()
    uncovered: int = 0
    doubtful: tuple[DoubtfulTrack, ...] = ()
    drawn: tuple[TrackExposure, ...] = ()
    bins: tuple[tuple[int, int, int, int], ...] = ()
    bin_frames: int = 1

    def __post_init__(self) -> None:
        counts = (self.short, self.gaps, self.uncovered, self.longest_gap, *self.frames.values(), *self.scores)
        sizes = (
            len(self.scores) == SCORE_BINS
            and len(self.weakest) <= MOST_WEAK
            and len(self.doubtful) <= min(MOST_WEAK, self.uncovered)
            and len(self.drawn) <= MOST_DRAWN
            and len(self.bins) <= MOST_BINS
        )
        if not sizes or min(counts) < 0 or self.frames.keys() != set(KINDS) or self.bin_frames < 1:
            raise ProtocolError(
                "an exposure that cannot be", expected=f"the kinds {', '.join(KINDS)} and bounded lists"
            )

    @property
    def labels(self) -> set[str]:
        """Every class that it names."""
        return {track.label for track in (*self.weakest, *self.drawn)} | {track.label for track in self.doubtful}
