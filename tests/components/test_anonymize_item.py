"""What anonymize makes of an item's announcement and of its frames' flags, which a hostile ingest may choose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from veilbox.components.anonymize import Item, bounded
from veilbox.components.gather import Gathered
from veilbox.core.coefficients import Coefficients
from veilbox.core.detections import Detections
from veilbox.core.errors import ProtocolError
from veilbox.core.policy import Detection, Keep, Policy, Recall, Tracking
from veilbox.core.regions import Regions
from veilbox.core.seen import Seen
from veilbox.core.stream import AnalysisView, AudioInfo, Colour, Kind, StreamInfo
from veilbox.core.zones import Zone
from veilbox.transport.consumer import FrameView
from veilbox.transport.info import decode_info, encode_info
from veilbox.transport.messages import ANALYSED, Frame, Start

AUDIO = AudioInfo(
    codec="aac", sample_rate=48_000, channels=2, layout="stereo", time_base=(1, 48_000), extradata="c2VjcmV0"
)
INFO = StreamInfo(kind=Kind.FILM, width=64, height=48, pixel_format="yuv420p", audio=AUDIO)


RING_BYTES = 1 << 20


def _item(policy: Policy, zones: Sequence[Zone] = ()) -> Item:
    view = AnalysisView.fit(INFO, long_side=64, stride=32)
    start = Start(item=0, info=encode_info(INFO, view), ring_generation=1, slots=16, slot_bytes=INFO.layout.nbytes)
    return Item(start, policy, thresholds={0: 0.2}, ring_bytes=RING_BYTES, zones=zones)


def _frame(sequence: int, *, analysed: bool) -> FrameView:
    frame = Frame(
        sequence=sequence,
        slot=0,
        generation=1,
        pts=sequence,
        duration=1,
        decoded_ns=0,
        flags=ANALYSED if analysed else 0,
    )
    return FrameView(frame, memoryview(bytes(INFO.layout.nbytes)))


@pytest.mark.parametrize(("keep", "expected"), [((), None), ((Keep.AUDIO,), AUDIO)])
def test_audio_is_announced_only_if_the_policy_keeps_it(keep: tuple[Keep, ...], expected: AudioInfo | None) -> None:
    info, _ = decode_info(_item(Policy(keep=keep)).announced)
    assert info.audio == expected


@pytest.mark.parametrize("stride", [1, 3])
def test_frames_that_keep_the_policys_stride_are_taken(stride: int) -> None:
    item = _item(Policy(detection=Detection(stride=stride)))
    for sequence in range(7):
        item.receive(_frame(sequence, analysed=sequence % stride == 0))
    assert list(item.unpushed) == list(range(7))


@pytest.mark.parametrize(
    ("stride", "flags"),
    [(1, [False]), (1, [True, False]), (3, [False]), (3, [True, True]), (3, [True, False, False, False])],
)
def test_a_frame_that_escapes_detection_ends_the_job(stride: int, flags: list[bool]) -> None:
    item = _item(Policy(detection=Detection(stride=stride)))
    for sequence, analysed in enumerate(flags[:-1]):
        item.receive(_frame(sequence, analysed=analysed))
    with pytest.raises(ProtocolError, match="escapes detection"):
        item.receive(_frame(len(flags), analysed=flags[-1]))


@pytest.mark.parametrize(("slots", "expected"), [(2, 0), (3, 1), (16, 12), (1, 0)])
def test_look_ahead_fits_the_ring(slots: int, expected: int) -> None:
    assert bounded(Tracking(lookahead=12), slots).lookahead == expected
    low = bounded(Tracking(lookahead=12, low_latency=True), slots)
    assert (low.lookahead, low.low_latency) == (0, True)


LEFT, RIGHT = (((x, 0.0), (x + 0.5, 0.0), (x + 0.5, 1.0), (x, 1.0)) for x in (0.0, 0.5))
SEEN = Detections(
    np.array([[4, 4, 20, 20], [40, 4, 60, 20], [20, 4, 44, 20], [8, 24, 24, 40]], np.float32),
    np.array([0.9, 0.9, 0.9, 0.1], np.float32),
    np.zeros(4, np.int32),
)


_STILL = StreamInfo(
    kind=Kind.IMAGE,
    width=128,
    height=96,
    pixel_format="yuv420p",
    colour=Colour(range=2),
    coefficients=Coefficients(pixel_format="yuv420p", tables=((4,) * 64,) * 3),
)


def test_of_coefficients_only_blocks_below_a_region_or_a_zone_change() -> None:
    view = AnalysisView.fit(_STILL, long_side=64, stride=32)
    start = Start(item=0, info=encode_info(_STILL, view), ring_generation=1, slots=2, slot_bytes=_STILL.frame_nbytes)
    corner = Zone(points=((0, 0), (0.1, 0), (0.1, 0.1), (0, 0.1)))
    item = Item(start, Policy(), thresholds={0: 0.2}, ring_bytes=RING_BYTES, zones=[corner])
    source = np.ones((_STILL.frame_nbytes // 2 // 64, 64), np.int16)
    frame = FrameView(_frame(0, analysed=True).frame, memoryview(source.tobytes()))
    one = np.array([1], np.int32)
    region = Regions(np.array([[68, 36, 76, 44]], np.float32), one, one, one)
    made = np.frombuffer(item.redacted(frame, region), np.int16).reshape(-1, 64)
    luma = (made != source).any(axis=1)[: 12 * 16].reshape(12, 16)
    assert np.argwhere(luma).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [4, 8], [4, 9], [5, 8], [5, 9]]
    assert made[0].tolist() == [-256, *[0] * 63]  # wholly in the zone: black, in steps of four
    assert np.frombuffer(frame.buffer, np.int16).tolist() == source.ravel().tolist()
    assert (item.blocks, item.recoded) == (12 * 16 + 2 * 6 * 8, 8 + 2 * (1 + 1))


def test_what_lies_wholly_in_a_zone_that_keeps_is_left_out_and_counted_if_it_counted() -> None:
    item = _item(Policy(), [Zone(points=LEFT, keep=True)])
    assert item.hidden_of(SEEN).boxes.tolist() == [[40, 3, 60, 15], [20, 3, 44, 15]]  # its picture is 64x64
    assert item.kept == 1  # the fourth was too weak to be hidden


def test_without_zones_everything_is_hidden() -> None:
    item = _item(Policy())
    assert len(item.hidden_of(SEEN)) == 4
    assert item.kept == 0


def test_a_zone_is_hidden_in_a_copy_and_over_one_that_keeps() -> None:
    grey = FrameView(_frame(0, analysed=True).frame, memoryview(bytearray(b"\x80" * INFO.layout.nbytes)))
    item = _item(Policy(), [Zone(points=LEFT, keep=True), Zone(points=LEFT)])
    told = bytes(item.redacted(grey, Regions.empty()))
    luma = np.frombuffer(told, np.uint8, count=64 * 48).reshape(48, 64)
    assert (luma[:, :32] == 16).all()
    assert (luma[:, 34:] == 128).all()
    assert set(bytes(grey.buffer)) == {0x80}


def test_a_frame_with_nothing_to_hide_is_not_copied() -> None:
    item = _item(Policy(), [Zone(points=RIGHT, keep=True)])
    frame = _frame(0, analysed=True)
    assert item.redacted(frame, Regions.empty()) is frame.buffer


def _shows(light: int) -> FrameView:
    """A frame whose left half is lighter or darker than its right."""
    luma = np.full((48, 64), 100, np.uint8)
    luma[:, :32] = light
    return FrameView(_frame(0, analysed=True).frame, memoryview(luma.tobytes() + bytes(INFO.layout.nbytes - luma.size)))


def test_another_picture_begins_another_scene() -> None:
    item = _item(Policy())
    assert [item.begins_scene(_shows(light)) for light in (200, 220, 10, 20)] == [False, False, True, False]


def _told(item: Item, *seen: Seen) -> None:
    for sequence, how in enumerate(seen):
        item.receive(_frame(sequence, analysed=True))
        item.know(sequence, Gathered(Detections.empty(), how), cut=False)


def test_detectors_may_leave_out_frames_between_whole_looks() -> None:
    item = _item(Policy(detection=Detection(recall=Recall.FAST)))
    _told(item, Seen.WHOLE, *[Seen.NOT] * 4, Seen.PARTS, Seen.WHOLE)
    assert item.seen == {Seen.WHOLE: 2, Seen.PARTS: 1, Seen.NOT: 4}


@pytest.mark.parametrize(
    ("detection", "seen"),
    [
        (Detection(recall=Recall.FAST), [Seen.NOT]),
        (Detection(recall=Recall.FAST), [Seen.PARTS]),
        (Detection(recall=Recall.FAST), [Seen.WHOLE, *[Seen.NOT] * 6]),
        (Detection(recall=Recall.FAST), [Seen.WHOLE, *[Seen.NOT] * 5, Seen.PARTS]),
        (Detection(), [Seen.WHOLE, Seen.NOT]),
        (Detection(stride=1), [Seen.WHOLE, Seen.PARTS]),
    ],
)
def test_a_detector_that_does_not_look_where_the_policy_has_it_look_ends_the_job(
    detection: Detection, seen: list[Seen]
) -> None:
    item = _item(Policy(detection=detection))
    _told(item, *seen[:-1])
    item.receive(_frame(len(seen) - 1, analysed=True))
    with pytest.raises(ProtocolError, match="a frame escapes detection"):
        item.know(len(seen) - 1, Gathered(Detections.empty(), seen[-1]), cut=False)
