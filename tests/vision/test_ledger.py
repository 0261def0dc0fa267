"""The exposure report counts what the tracker did, within bounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilbox.core.detections import Detections
from veilbox.core.exposure import KINDS, MOST_BINS, MOST_DRAWN, MOST_WEAK, DoubtfulTrack, Exposure
from veilbox.core.policy import Tracking
from veilbox.core.regions import Regions
from veilbox.vision.track import Tracker

FACE = (100.0, 100.0, 140.0, 140.0)
THRESHOLD = 0.5
TRACKING = Tracking(lookahead=8, bridge=6, extend=3)


def seen(*scores: float, at: float = 0.0) -> Detections:
    """Faces beside each other with these scores."""
    boxes = [(FACE[0] + 80 * n + at, FACE[1], FACE[2] + 80 * n + at, FACE[3]) for n in range(len(scores))]
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.zeros(len(scores), np.int32)
    )


def run(
    frames: Sequence[Detections | None], tracking: Tracking = TRACKING, *, film: bool = True
) -> tuple[Exposure, list[Regions], int]:
    tracker = Tracker(tracking, width=2000, height=360, thresholds={0: THRESHOLD}, film=film)
    left = []
    for number, found in enumerate(frames):
        tracker.push(100 + number, found)
        left += list(tracker.ready())
    left += list(tracker.flush())
    return tracker.exposure({0: "face"}.__getitem__), [regions for _, regions in left], tracker.tracks.get(0, 0)


NONE = seen()


def test_a_track_is_told_by_what_covered_it() -> None:
    frames = [NONE] * 5 + [seen(0.92)] * 4 + [NONE] * 2 + [seen(0.62)] * 3 + [NONE] * 9
    told, _, _ = run(frames)
    assert told.frames == {"detected": 7, "interpolated": 2, "ahead": 3, "behind": 3}
    (track,) = told.drawn
    assert (track.first, track.last) == (2, 16)
    assert (track.detected, track.interpolated, track.ahead, track.behind) == (7, 2, 3, 3)
    assert (track.gaps, track.longest_gap, track.best, track.weakest) == (1, 2, 0.92, 0.62)
    assert told.weakest == (track,)
    assert (told.gaps, told.longest_gap, told.short) == (1, 2, 0)
    assert sum(told.scores) == 7
    assert (told.scores[18], told.scores[12]) == (4, 3)
    assert [sum(column) for column in zip(*told.bins, strict=True)] == [7, 2, 3, 3]


def test_frames_that_nobody_looked_at_are_no_gap() -> None:
    told, _, _ = run([seen(0.9), None, None] * 4)
    assert (told.gaps, told.frames["interpolated"]) == (0, 6)


def test_short_tracks_are_counted_and_weak_ones_named() -> None:
    told, _, tracks = run([seen(0.9, 0.55)] * 4 + [seen(0.9)] * 6)
    assert (tracks, told.short) == (2, 1)
    assert [track.best for track in told.weakest] == [pytest.approx(0.55, abs=1e-3), pytest.approx(0.9, abs=1e-3)]


def test_what_was_never_strong_is_counted_apart() -> None:
    told, regions, _ = run([seen(0.3), seen(0.42), *[seen(0.3)] * 8])
    doubt = DoubtfulTrack(label="face", first=0, last=9, seen=10, best=0.42)
    assert told == Exposure(uncovered=1, doubtful=(doubt,))
    assert not any(map(len, regions))


def test_of_what_was_never_strong_the_lasting_ones_are_named() -> None:
    told, _, _ = run([seen(*[0.3] * 14), *[seen(*[0.3] * 12)] * 3, seen(0.3)])
    assert told.uncovered == 14
    assert [doubt.seen for doubt in told.doubtful] == [5, *[4] * 9]
    assert told.labels == {"face"}


def test_a_picture_has_no_time() -> None:
    told, _, _ = run([seen(0.9, 0.7)], Tracking(lookahead=0), film=False)
    assert (told.short, told.drawn, told.bins) == (0, (), ())
    assert len(told.weakest) == 2
    assert told.frames["detected"] == 1


def test_a_score_beyond_its_bounds_is_taken_for_the_bound() -> None:
    told, _, _ = run([seen(1.5)] * 5)
    assert (told.scores[-1], told.weakest[0].best) == (5, 1.0)


def test_it_does_not_grow_with_the_film() -> None:
    # A crowd that changes every twenty frames: tracks without end.
    frames = [seen(*[0.6] * 12, at=600.0 * (number // 20 % 2)) for number in range(MOST_BINS * 5)]
    told, _, tracks = run(frames, Tracking(lookahead=2, bridge=2, extend=2))
    assert tracks > MOST_DRAWN
    assert (len(told.drawn), len(told.weakest)) == (MOST_DRAWN, MOST_WEAK)
    assert MOST_BINS / 2 <= len(told.bins) <= MOST_BINS
    assert told.bin_frames == 8


@settings(max_examples=60)
@given(
    st.lists(st.one_of(st.none(), st.lists(st.floats(0.1, 1.0), max_size=3)), min_size=1, max_size=40),
    st.builds(Tracking, lookahead=st.integers(0, 12), bridge=st.integers(0, 8), extend=st.integers(0, 6)),
)
def test_it_agrees_with_the_regions(scores: list[list[float] | None], tracking: Tracking) -> None:
    told, left, tracks = run([None if one is None else seen(*one) for one in scores], tracking)
    assert sum(len(set(regions.tracks.tolist())) for regions in left) == sum(map(sum, told.bins))
    assert told.frames["detected"] == sum(0 in regions.origins for regions in left)
    if tracks <= MOST_WEAK:
        assert len(told.weakest) == tracks
        for track in told.weakest:
            frames = [number for number, regions in enumerate(left) if track.track in regions.tracks]
            assert sum(getattr(track, kind) for kind in KINDS) == len(frames)
            if frames:
                assert (track.first, track.last) == (frames[0], frames[-1])
