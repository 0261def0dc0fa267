"""What waits must fit into the rings, or the pod stands still."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.components.anonymize import bounded
from veilbox.components.pace import FREE_SLOTS, pace_of
from veilbox.core.policy import Detection, Policy, Recall, Tracking
from veilbox.core.stream import Kind, StreamInfo
from veilbox.transport.producer import fitting_slots

_MIB = 1 << 20


def _film(width: int, height: int, pixel_format: str = "yuv420p") -> StreamInfo:
    return StreamInfo(kind=Kind.FILM, width=width, height=height, pixel_format=pixel_format)


@given(
    size=st.sampled_from([(640, 360), (1920, 1080), (3840, 2160), (7680, 4320)]),
    pixel_format=st.sampled_from(["yuv420p", "yuv444p10le"]),
    recall=st.sampled_from([*Recall]),
    stride=st.sampled_from([None, 1, 5]),
    lookahead=st.integers(0, 60),
    ring_mib=st.sampled_from([1, 64, 256]),
)
def test_what_waits_for_a_look_and_for_what_follows_has_slots(
    size: tuple[int, int], pixel_format: str, recall: Recall, stride: int | None, lookahead: int, ring_mib: int
) -> None:
    info = _film(*size, pixel_format)
    policy = Policy(detection=Detection(recall=recall, stride=stride), tracking=Tracking(lookahead=lookahead))
    pace = pace_of(policy, info, ring_mib * _MIB)
    slots = fitting_slots(pace.raw_slots, info.layout.nbytes, ring_mib * _MIB)
    waiting = bounded(policy.tracking, slots).lookahead
    assert waiting + pace.stride - 1 + FREE_SLOTS <= max(slots, FREE_SLOTS)
    assert pace.analysis_slots > pace.stride
    assert 1 <= pace.stride <= policy.longest_stride


_STRIDES: dict[str, tuple[Policy, StreamInfo, int]] = {
    "balanced": (Policy(), _film(1920, 1080), 1),
    "high": (Policy(detection=Detection(recall=Recall.HIGH)), _film(1280, 720), 1),
    "fast": (Policy(detection=Detection(recall=Recall.FAST)), _film(1280, 720), 6),
    "a stride by number": (Policy(detection=Detection(stride=4)), _film(1280, 720), 1),
    "low latency": (Policy(tracking=Tracking(low_latency=True)), _film(1280, 720), 1),
    "little look-ahead": (
        Policy(detection=Detection(recall=Recall.FAST), tracking=Tracking(lookahead=3)),
        _film(1280, 720),
        3,
    ),
    "frames that fill the ring": (Policy(detection=Detection(recall=Recall.FAST)), _film(7680, 4320), 1),
}


@pytest.mark.parametrize(("policy", "info", "stride"), _STRIDES.values(), ids=_STRIDES.keys())
def test_whole_looks_are_as_far_apart_as_policy_and_ring_let_them(
    policy: Policy, info: StreamInfo, stride: int
) -> None:
    assert pace_of(policy, info, 256 * _MIB).stride == stride


def test_every_picture_is_looked_at() -> None:
    picture = StreamInfo(kind=Kind.IMAGE, width=640, height=480, pixel_format="rgb24")
    assert pace_of(Policy(), picture, 256 * _MIB).stride == 1
