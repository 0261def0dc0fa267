"""Boxes cross a socket unchanged, are checked on arrival, and find their way back through turn and scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.detections import MAX_DETECTIONS, Detections
from veilbox.core.errors import ProtocolError
from veilbox.core.stream import AnalysisView, Kind, StreamInfo


def _one(box: tuple[float, float, float, float]) -> Detections:
    return Detections(np.array([box], np.float32), np.array([0.5], np.float32), np.array([0], np.int32))


@given(
    st.lists(st.tuples(*[st.floats(0, 1000, width=32)] * 4, st.floats(0, 1, width=32), st.integers(0, 79)), max_size=20)
)
def test_packing_is_exact(rows: list[tuple[float, float, float, float, float, int]]) -> None:
    boxes = np.array([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d, _, _ in rows], np.float32)
    found = Detections(
        boxes.reshape(-1, 4), np.array([r[4] for r in rows], np.float32), np.array([r[5] for r in rows], np.int32)
    )
    again = Detections.unpack(found.pack())
    assert np.array_equal(again.boxes, found.boxes)
    assert np.array_equal(again.scores, found.scores)
    assert np.array_equal(again.classes, found.classes)


@given(st.binary(max_size=200))
def test_hostile_bytes_are_refused_or_valid(payload: bytes) -> None:
    try:
        found = Detections.unpack(payload)
    except ProtocolError:
        return
    assert np.isfinite(found.boxes).all()
    assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()


def test_too_many_are_refused() -> None:
    with pytest.raises(ProtocolError, match="too many"):
        Detections.unpack(bytes(24 * (MAX_DETECTIONS + 1)))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@given(data=st.data())
def test_a_box_of_the_upright_picture_covers_the_same_samples_of_the_frame(rotation: int, data: st.DataObject) -> None:
    """Paint a box into a frame, turn it as a player would, and read it back through the view."""
    width, height = 48, 32
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    frame = np.zeros((height, width), np.uint8)
    frame[y1:y2, x1:x2] = 1
    upright = np.rot90(frame, rotation // 90)
    rows, columns = np.nonzero(upright)
    seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    view = AnalysisView(upright.shape[1], upright.shape[0], width, height, rotation)
    assert _one(seen).in_frame(view).boxes[0].tolist() == [x1, y1, x2, y2]


@pytest.mark.parametrize(
    ("size", "rotation", "expected"),
    [
        ((1280, 720), 0, (640, 384)),
        ((1280, 720), 90, (384, 640)),
        ((720, 1280), 0, (384, 640)),
        ((1, 1), 0, (640, 640)),
        ((4000, 10), 0, (640, 32)),
    ],
)
def test_the_view_fits_the_long_side_and_the_stride(
    size: tuple[int, int], rotation: int, expected: tuple[int, int]
) -> None:
    info = StreamInfo(kind=Kind.FILM, width=size[0], height=size[1], pixel_format="yuv420p", rotation=rotation)
    view = AnalysisView.fit(info, long_side=640, stride=32)
    assert (view.width, view.height) == expected
