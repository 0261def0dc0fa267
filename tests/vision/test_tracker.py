"""Tracks cover what was seen, what lies between, and a little beyond."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilbox.core.detections import MAX_DETECTIONS, Detections
from veilbox.core.errors import ProtocolError
from veilbox.core.policy import Tracking
from veilbox.core.regions import Origin, Regions
from veilbox.vision.track import Tracker
from veilbox.vision.track.tracker import MAX_TRAILS

Box = tuple[float, float, float, float]
Row = tuple[Box, float, int]

WIDTH, HEIGHT = 640, 360
THRESHOLD = 0.5

TRACKINGS = st.builds(
    Tracking,
    lookahead=st.integers(0, 12),
    bridge=st.integers(0, 12),
    extend=st.integers(0, 8),
    low_latency=st.booleans(),
)


def detections(*rows: Row) -> Detections:
    return Detections(
        np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([kind for _, _, kind in rows], np.int32),
    )


def face(box: Box, score: float = 0.9, kind: int = 0) -> Detections:
    return detections((box, score, kind))


def run(
    frames: Sequence[Detections | None],
    tracking: Tracking,
    threshold: float = THRESHOLD,
    first: int = 0,
    believe: int | None = None,
    cuts: Collection[int] = (),
) -> list[Regions]:
    """Push a film through a tracker; checks on the way that frames leave in order, each once, and in time."""
    tracker = Tracker(tracking, width=WIDTH, height=HEIGHT, thresholds={0: threshold, 1: threshold}, believe=believe)
    left = []
    for number, found in enumerate(frames):
        tracker.push(first + number, found, cut=number in cuts)
        left += list(tracker.ready())
        assert len(left) == max(0, number + 1 - tracking.waiting)
    left += list(tracker.flush())
    assert [sequence for sequence, _ in left] == list(range(first, first + len(frames)))
    return [regions for _, regions in left]


def covered(box: Box, regions: Regions, slack: float = 0.0) -> bool:
    """Whether one region holds the whole box; `slack` pixels are forgiven for the rounding of float32."""
    low = regions.boxes[:, :2] <= np.array(box[:2], np.float32) + slack
    high = regions.boxes[:, 2:] >= np.array(box[2:], np.float32) - slack
    return bool((low.all(axis=1) & high.all(axis=1)).any())


BOXES = st.tuples(
    st.floats(0, WIDTH - 1, width=32), st.floats(0, HEIGHT - 1, width=32), st.integers(0, 90), st.integers(0, 90)
).map(lambda r: (r[0], r[1], r[0] + r[2], r[1] + r[3]))
ROWS = st.tuples(BOXES, st.sampled_from([0.2, 0.5, 0.9]), st.integers(0, 1))
FRAMES = st.lists(st.one_of(st.none(), st.lists(ROWS, max_size=5).map(lambda rows: detections(*rows))), max_size=25)


@settings(deadline=None)
@given(frames=FRAMES, tracking=TRACKINGS, first=st.integers(0, 1000))
def test_every_strong_detection_is_covered_in_its_frame(
    frames: list[Detections | None], tracking: Tracking, first: int
) -> None:
    for found, regions in zip(frames, run(frames, tracking, first=first), strict=True):
        if found is None:
            continue
        for box, score, kind in zip(found.boxes.tolist(), found.scores, found.classes, strict=True):
            chosen = regions.classes == kind
            same_class = Regions(
                regions.boxes[chosen], regions.tracks[chosen], regions.classes[chosen], regions.origins[chosen]
            )
            x1, y1, x2, y2 = box
            assert score < THRESHOLD or covered((x1, y1, x2, y2), same_class)


@settings(deadline=None)
@given(frames=FRAMES, tracking=TRACKINGS)
def test_regions_are_sound(frames: list[Detections | None], tracking: Tracking) -> None:
    for regions in run(frames, tracking):
        assert np.isfinite(regions.boxes).all()
        assert (regions.boxes[:, 2:] >= regions.boxes[:, :2]).all()
        assert set(regions.origins.tolist()) <= set(Origin)


MOTIONS = st.tuples(
    st.floats(20, 90),  # side
    st.floats(-0.2, 0.2),  # speed, sides a frame: at most 0.28 in all, a brisk walk straight across
    st.floats(-0.2, 0.2),
    st.floats(-0.02, 0.02),  # growth of the side, a share a frame
)


def moving(motion: tuple[float, float, float, float], frame: int) -> Box:
    side, dx, dy, growth = motion
    half = side * (1 + growth * frame) / 2
    x, y = WIDTH / 2 + dx * side * frame, HEIGHT / 2 + dy * side * frame
    return x - half, y - half, x + half, y + half


@settings(deadline=None)
@given(motion=MOTIONS, before=st.integers(1, 5), gap=st.integers(1, 12), after=st.integers(1, 3), unseen=st.booleans())
def test_a_gap_is_filled_in_every_frame(
    motion: tuple[float, float, float, float], before: int, gap: int, after: int, *, unseen: bool
) -> None:
    nothing = None if unseen else Detections.empty()
    seen = [True] * before + [False] * gap + [True] * after
    truth = [moving(motion, number) for number in range(len(seen))]
    frames = [face(box) if here else nothing for box, here in zip(truth, seen, strict=True)]
    shown = run(frames, Tracking(lookahead=12, bridge=12, extend=0))
    for box, regions in zip(truth, shown, strict=True):
        assert outside(box) or covered(box, regions, slack=0.01)
    assert len({track for regions in shown for track in regions.tracks.tolist()}) == 1


def outside(box: Box) -> bool:
    return box[0] >= WIDTH or box[1] >= HEIGHT or box[2] <= 0 or box[3] <= 0


@pytest.mark.parametrize(("dx", "dy"), [(0.35, 0.0), (-0.35, 0.0), (0.0, 0.35), (0.2, -0.28)])
def test_a_brisk_walk_is_followed_from_a_single_detection(dx: float, dy: float) -> None:
    truth = [moving((20, dx, dy, 0), number) for number in range(14)]
    shown = run([face(truth[0]), *[None] * 12, face(truth[13])], Tracking(lookahead=12, bridge=12, extend=0))
    assert all(covered(box, regions, slack=0.01) for box, regions in zip(truth, shown, strict=True))


@pytest.mark.parametrize(("bridge", "gap", "filled"), [(4, 4, True), (4, 5, False), (0, 1, False), (12, 12, True)])
def test_a_gap_longer_than_the_bridge_stays_open(bridge: int, gap: int, *, filled: bool) -> None:
    box: Box = (100, 100, 150, 150)
    frames = [face(box), *[Detections.empty()] * gap, face(box)]
    shown = run(frames, Tracking(lookahead=20, bridge=bridge, extend=0))
    assert all(len(regions) == int(filled) for regions in shown[1:-1])


@settings(deadline=None)
@given(stride=st.integers(2, 12), looks=st.integers(2, 5), extend=st.integers(0, 3), lookahead=st.sampled_from([0, 12]))
def test_frames_that_nobody_looked_at_are_covered_up_to_the_next_look(
    stride: int, looks: int, extend: int, lookahead: int
) -> None:
    box: Box = (100, 100, 150, 150)
    frames = [face(box) if number % stride == 0 else None for number in range(stride * looks)]
    shown = run(frames, Tracking(lookahead=lookahead, bridge=0, extend=extend))
    assert all(covered(box, regions) for regions in shown)


def test_a_face_that_appears_between_two_looks_is_covered_back_to_the_last_look() -> None:
    frames = [Detections.empty(), None, None, None, face((10, 10, 50, 50))]
    shown = run(frames, Tracking(lookahead=12, bridge=12, extend=0))
    assert [len(regions) for regions in shown] == [0, 1, 1, 1, 1]


def _parts(frames: dict[int, tuple[Detections, bool]], length: int, tracking: Tracking) -> list[list[int]]:
    """Origins in each frame of a film in which only some frames were looked at, whole or in parts."""
    tracker = Tracker(tracking, width=WIDTH, height=HEIGHT, thresholds={0: THRESHOLD})
    for number in range(length):
        found, whole = frames.get(number, (None, False))
        tracker.push(number, found, whole=whole)
    return [sorted(regions.origins.tolist()) for _, regions in tracker.flush()]


def test_what_parts_of_a_frame_show_counts_and_what_they_do_not_show_says_nothing() -> None:
    box: Box = (10, 10, 50, 50)
    tracking = Tracking(lookahead=12, bridge=0, extend=0)
    # Looked at whole at 0 and 6, where it was not; found at 3, and not at 4, where only parts were looked at.
    frames = {0: (Detections.empty(), True), 3: (face(box), False), 4: (Detections.empty(), False)}
    origins = _parts(frames | {6: (Detections.empty(), True)}, 8, tracking)
    extended, detected = [int(Origin.EXTENDED)], [int(Origin.DETECTED)]
    assert origins == [[], extended, extended, detected, extended, extended, [], []]


def test_a_track_that_parts_leave_out_has_no_gap() -> None:
    box: Box = (10, 10, 50, 50)
    tracker = Tracker(Tracking(), width=WIDTH, height=HEIGHT, thresholds={0: THRESHOLD})
    for number in range(7):
        tracker.push(number, face(box) if number in (0, 6) else Detections.empty(), whole=number in (0, 6))
    list(tracker.flush())
    assert tracker.exposure(str).gaps == 0


@pytest.mark.parametrize(
    ("lookahead", "expected"),
    [(0, range(10, 17)), (2, range(8, 17)), (12, range(4, 17))],
    ids=["forward only", "two frames back", "in full"],
)
def test_one_detection_reaches_both_ways(lookahead: int, expected: range) -> None:
    frames = [face((100, 100, 150, 150)) if number == 10 else Detections.empty() for number in range(30)]
    shown = run(frames, Tracking(lookahead=lookahead, bridge=12, extend=6))
    assert [number for number, regions in enumerate(shown) if len(regions)] == list(expected)
    origins = {int(origin) for number in expected if number != 10 for origin in shown[number].origins}
    assert origins == {Origin.EXTENDED}
    assert shown[10].origins.tolist() == [Origin.DETECTED]


@settings(deadline=None)
@given(motion=MOTIONS, extend=st.integers(1, 6))
def test_a_face_that_goes_on_or_stops_is_covered_by_the_extension(
    motion: tuple[float, float, float, float], extend: int
) -> None:
    motion = (*motion[:3], 0.0)
    frames = [*(face(moving(motion, number)) for number in range(3)), *[Detections.empty()] * extend]
    shown = run(frames, Tracking(lookahead=0, bridge=12, extend=extend))
    for number in range(3, 3 + extend):
        for box in (moving(motion, number), moving(motion, 2)):
            assert outside(box) or covered(box, shown[number], slack=0.01)


@settings(deadline=None)
@given(
    speed=st.floats(0.08, 0.3),
    apart=st.floats(0, 0.4),
    side=st.floats(25, 60),
    phase=st.floats(0, 1),
)
def test_faces_that_cross_do_not_lose_cover(speed: float, apart: float, side: float, phase: float) -> None:
    """Two faces walk through each other; where they overlap, only the one in front is seen."""
    half = side / 2
    first, second = [], []
    for number in range(-20, 21):
        x, y = (number + phase) * speed * side, apart * side
        first.append((300 + x - half, 180 - half, 300 + x + half, 180 + half))
        second.append((300 - x - half, 180 + y - half, 300 - x + half, 180 + y + half))
    frames = [
        detections((a, 0.9, 0), *([(b, 0.9, 0)] if abs(a[0] - b[0]) > 0.6 * side else []))
        for a, b in zip(first, second, strict=True)
    ]
    shown = run(frames, Tracking(lookahead=12, bridge=12, extend=6))
    for a, b, regions in zip(first, second, shown, strict=True):
        assert outside(a) or covered(a, regions, slack=0.01)
        assert outside(b) or covered(b, regions, slack=0.01)


def test_two_strangers_taken_for_one_keep_what_each_would_have_had() -> None:
    left: Box = (100, 100, 140, 140)
    right: Box = (190, 100, 230, 140)
    frames = [face(left), *[Detections.empty()] * 5, face(right)]
    alone = Tracking(lookahead=12, bridge=12, extend=6)
    shown = run(frames, alone)
    assert all(covered(left, regions) and covered(right, regions) for regions in shown[1:-1])


class TestScoreBands:
    def test_weak_detections_alone_cover_nothing(self) -> None:
        frames = [face((10, 10, 50, 50), 0.3)] * 10
        assert all(len(regions) == 0 for regions in run(frames, Tracking()))

    def test_weak_detections_keep_a_track_alive(self) -> None:
        box: Box = (10, 10, 50, 50)
        frames = [face(box), *[face(box, 0.3)] * 30]
        shown = run(frames, Tracking(lookahead=0, bridge=2, extend=0))
        assert all(covered(box, regions) for regions in shown)

    def test_weak_detections_that_lead_up_to_a_strong_one_are_covered(self) -> None:
        box: Box = (10, 10, 50, 50)
        frames = [*[face(box, 0.3)] * 5, face(box)]
        shown = run(frames, Tracking(lookahead=12, bridge=2, extend=0))
        assert all(covered(box, regions) for regions in shown)

    def test_a_strong_detection_is_matched_before_a_weak_one(self) -> None:
        strong: Box = (12, 10, 52, 50)
        frames = [face((10, 10, 50, 50)), detections(((10, 10, 50, 50), 0.3, 0), (strong, 0.9, 0))]
        shown = run(frames, Tracking())
        assert covered(strong, shown[1])
        assert shown[1].tracks.tolist() == shown[0].tracks.tolist()[:1]


def test_classes_are_never_mixed() -> None:
    box: Box = (10, 10, 50, 50)
    shown = run([face(box, kind=0), face(box, kind=1)], Tracking(lookahead=0, bridge=12, extend=0))
    assert [(r.classes.tolist(), r.tracks.tolist()) for r in shown] == [([0], [0]), ([1], [1])]


def test_tracks_are_counted_by_class() -> None:
    tracker = Tracker(Tracking(), width=WIDTH, height=HEIGHT, thresholds={0: THRESHOLD, 1: THRESHOLD})
    rows: list[Row] = [((0, 0, 40, 40), 0.9, 0), ((200, 0, 240, 40), 0.9, 0), ((400, 0, 440, 40), 0.9, 1)]
    weak: Row = ((0, 200, 40, 240), 0.2, 1)
    for number in range(3):
        tracker.push(number, detections(*rows, weak))
    assert tracker.tracks == {0: 2, 1: 1}


@pytest.mark.parametrize("sequences", [(0, 2), (0, 0), (5, 4)])
def test_frames_out_of_order_are_refused(sequences: tuple[int, int]) -> None:
    tracker = Tracker(Tracking(), width=WIDTH, height=HEIGHT)
    tracker.push(sequences[0], None)
    with pytest.raises(ProtocolError, match="out of order"):
        tracker.push(sequences[1], None)


@settings(deadline=None, max_examples=20)
@given(tracking=TRACKINGS)
def test_memory_does_not_grow_with_the_film(tracking: Tracking) -> None:
    tracker = Tracker(tracking, width=WIDTH, height=HEIGHT, thresholds={0: THRESHOLD, 1: THRESHOLD})
    window = tracking.lookahead + max(tracking.bridge, tracking.extend) + 2
    for number in range(4 * window):
        jumping: Box = (number * 97 % 500, 0, number * 97 % 500 + 10, 10)
        tracker.push(number, detections(((300, 200, 350, 250), 0.9, 0), (jumping, 0.9, 0)))
        list(tracker.ready())
        assert len(tracker._waiting) <= tracking.lookahead
        assert len(tracker._trails) <= 2 * window
        assert all(len(trail.sightings) <= tracking.lookahead + 1 for trail in tracker._trails)


def flood(number: int) -> Detections:
    x = np.arange(MAX_DETECTIONS, dtype=np.float32) * 100 + number * 1e6
    boxes = np.stack((x, x, x + 10, x + 10), axis=1)
    return Detections(boxes, np.ones(MAX_DETECTIONS, np.float32), np.zeros(MAX_DETECTIONS, np.int32))


def test_a_flood_of_detections_is_an_error_and_not_a_flood_of_memory() -> None:
    tracker = Tracker(Tracking(), width=WIDTH, height=HEIGHT)
    frames = MAX_TRAILS // MAX_DETECTIONS
    for number in range(frames):
        tracker.push(number, flood(number))
    with pytest.raises(ProtocolError, match="more tracks"):
        tracker.push(frames, flood(frames))


def walker(frame: int) -> Box:
    """Somebody who walks to the right at two pixels a frame."""
    return (10.0 + 2 * frame, 20.0, 30.0 + 2 * frame, 40.0)


HIDDEN_FOR = 16
OCCLUDED: list[Detections | None] = [
    *(face(walker(frame)) for frame in range(6)),
    *(detections() for _ in range(HIDDEN_FOR)),
    *(face(walker(frame), 0.2) for frame in range(6 + HIDDEN_FOR, 10 + HIDDEN_FOR)),
]


def test_somebody_who_comes_out_half_hidden_where_a_track_was_lost_is_covered() -> None:
    shown = run(OCCLUDED, Tracking())
    first = 6 + HIDDEN_FOR
    for frame in range(first - Tracking().extend, len(OCCLUDED)):
        assert covered(walker(frame), shown[frame], slack=1) or frame < first
    for frame in range(first, len(OCCLUDED)):
        assert covered(walker(frame), shown[frame])
    # Before: the longest gap that is filled is shorter, and nothing was found.
    assert not len(shown[first - Tracking().extend - 2])


@pytest.mark.parametrize(
    ("what", "frames"),
    [
        ("elsewhere", [*OCCLUDED[:-4], *(face((90, 60, 100, 70), 0.2) for _ in range(4))]),
        ("of another class", [*OCCLUDED[:-4], *(face(walker(frame), 0.2, 1) for frame in range(22, 26))]),
        ("of another size", [*OCCLUDED[:-4], *(face((54, 20, 56, 22), 0.2) for _ in range(4))]),
        ("too late", [*OCCLUDED[:6], *(detections() for _ in range(31)), face(walker(37), 0.2)]),
        ("never seen well", [*(face(walker(frame), 0.2) for frame in range(6)), *OCCLUDED[6:]]),
    ],
)
def test_a_weak_detection_is_not_believed(what: str, frames: list[Detections | None]) -> None:
    assert what
    assert not len(run(frames, Tracking())[-1])


def test_belief_does_not_live_on_belief() -> None:
    still = (20.0, 20.0, 40.0, 40.0)
    weak = [*(detections() for _ in range(HIDDEN_FOR)), face(still, 0.2)]
    shown = run([face(still), *weak, *weak, *weak], Tracking())
    told = [bool(len(regions)) for regions in shown]
    assert told[1 + HIDDEN_FOR]
    assert not told[2 * (1 + HIDDEN_FOR)]
    assert not told[3 * (1 + HIDDEN_FOR)]


def test_of_two_people_taken_for_one_the_half_hidden_one_stays_covered() -> None:
    # One is lost while the other comes out weakly beside; then the first appears where it was heading, and its track
    # leaps back.
    first = [(200.0 - 2 * frame, 50.0, 230.0 - 2 * frame, 85.0) for frame in range(12)]
    second = (205.0, 52.0, 232.0, 88.0)
    frames = [
        *(face(first[frame]) for frame in range(5)),
        *(detections() for _ in range(3)),
        face(second, 0.2),
        detections((first[9], 0.9, 0), (second, 0.2, 0)),
        detections((first[10], 0.9, 0), (second, 0.2, 0)),
    ]
    shown = run(frames, Tracking())
    assert covered(second, shown[8])
    assert covered(second, shown[9])
    assert covered(second, shown[10])


def test_a_weak_double_of_a_face_that_stays_is_not_believed() -> None:
    still, double = (100.0, 100.0, 140.0, 140.0), (110.0, 110.0, 150.0, 150.0)
    frames = [detections((still, 0.9, 0), (double, 0.2, 0)) for _ in range(8)]
    assert [len(regions) for regions in run(frames, Tracking())] == [1] * 8


@given(FRAMES, st.integers(0, 8), st.integers(0, 12))
def test_low_latency_covers_all_that_waiting_for_nothing_covers_and_a_margin_more(
    frames: list[Detections | None], extend: int, bridge: int
) -> None:
    plain = run(frames, Tracking(lookahead=0, bridge=bridge, extend=extend))
    live = run(frames, Tracking(lookahead=12, bridge=bridge, extend=extend, low_latency=True))
    for less, more in zip(plain, live, strict=True):
        for box in less.boxes.tolist():
            across, down = 0.1 * (box[2] - box[0]), 0.1 * (box[3] - box[1])
            assert covered((box[0] - across, box[1] - down, box[2] + across, box[3] + down), more, slack=0.01)


def test_with_low_latency_a_lost_track_is_covered_as_long_as_a_gap_could_last() -> None:
    frames = [face((100, 100, 140, 140)), *[detections()] * 20]
    shown = run(frames, Tracking(bridge=12, extend=6, low_latency=True))
    assert [len(regions) for regions in shown] == [1] * 13 + [0] * 8


@pytest.mark.parametrize(("sightings", "expected"), [(2, 0), (3, 3), (6, 6)])
def test_what_is_seen_weakly_again_and_again_is_believed(sightings: int, expected: int) -> None:
    frames = [*[face((100, 100, 140, 140), 0.2)] * sightings, *[detections()] * 4]
    shown = run(frames, Tracking(extend=0), believe=3)
    assert sum(map(len, shown)) == expected


def test_what_was_only_believed_makes_nobody_else_believed() -> None:
    """Noise that lasts must not spread: where it is lost, weak detections count for no more than anywhere."""
    frames = [*[face((100, 100, 140, 140), 0.2)] * 3, *[detections()] * 14, face((100, 100, 140, 140), 0.2)]
    assert [len(regions) for regions in run(frames, Tracking(extend=0), believe=3)] == [1] * 3 + [0] * 15


@settings(deadline=None)
@given(frames=FRAMES, tracking=TRACKINGS, believe=st.integers(1, 4))
def test_who_believes_covers_no_less(frames: list[Detections | None], tracking: Tracking, believe: int) -> None:
    for less, more in zip(run(frames, tracking), run(frames, tracking, believe=believe), strict=True):
        assert all(covered(box, more, slack=0.01) for box in map(tuple, less.boxes.tolist()))


@settings(deadline=None)
@given(
    scenes=st.lists(FRAMES.filter(len), min_size=1, max_size=4), tracking=TRACKINGS, believe=st.sampled_from([None, 3])
)
def test_scenes_are_covered_as_if_each_were_a_film(
    scenes: list[list[Detections | None]], tracking: Tracking, believe: int | None
) -> None:
    cuts = np.cumsum([len(scene) for scene in scenes])[:-1].tolist()
    together = run([frame for scene in scenes for frame in scene], tracking, believe=believe, cuts=cuts)
    apart = [regions for scene in scenes for regions in run(scene, tracking, believe=believe)]
    for one, other in zip(together, apart, strict=True):
        assert one.boxes.tolist() == other.boxes.tolist()
        assert one.classes.tolist() == other.classes.tolist()
        assert one.origins.tolist() == other.origins.tolist()


def test_a_cut_ends_what_was_and_what_comes_begins_at_it() -> None:
    frames = [face((100, 100, 140, 140)), *[detections()] * 8, face((104, 100, 144, 140))]
    whole = run(frames, Tracking(extend=6))
    assert all(map(len, whole))
    halves = run(frames, Tracking(extend=6), cuts=[2])
    assert [len(regions) for regions in halves] == [1, 1, 0, 1, 1, 1, 1, 1, 1, 1]
