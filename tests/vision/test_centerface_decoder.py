"""CenterFace's maps become boxes inside the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from veilbox.core.errors import ImageError
from veilbox.vision.detect.candidates import Candidates
from veilbox.vision.detect.centerface import decode_centerface
from veilbox.vision.detect.decoding import DECODERS, decoder_named

Maps = list[NDArray[np.float32]]


def maps(rows: int, columns: int) -> Maps:
    return [np.zeros((1, channels, rows, columns), np.float32) for channels in (1, 2, 2)]


def decode(outputs: Maps, floor: float = 0.5) -> Candidates:
    _, _, rows, columns = outputs[0].shape
    return decode_centerface(outputs, width=columns * 4, height=rows * 4, floor=floor, classes=1)


def test_a_cold_map_gives_nothing() -> None:
    found = decode(maps(8, 16))
    assert (found.boxes.shape, found.scores.shape, found.classes.shape) == ((0, 4), (0,), (0,))
    assert found.boxes.dtype == np.float32


@pytest.mark.parametrize(
    ("row", "column", "offset", "size", "expected"),
    [
        # centre (column + 0.5 + dx) * 4, size in cells times 4, rows before columns in the maps
        (4, 8, (0, 0), (4, 2), (30, 10, 38, 26)),
        (4, 8, (0.25, -0.25), (4, 2), (29, 11, 37, 27)),
        (0, 0, (0, 0), (4, 4), (0, 0, 10, 10)),
        (7, 15, (0, 0), (4, 4), (54, 22, 64, 32)),
        (4, 8, (0, 0), (100, 100), (0, 0, 64, 32)),
    ],
    ids=["middle", "offset", "first corner", "last corner", "larger than the picture"],
)
def test_one_hot_cell(
    row: int, column: int, offset: tuple[float, float], size: tuple[float, float], expected: tuple[float, ...]
) -> None:
    heat, log_size, shift = outputs = maps(8, 16)
    heat[0, 0, row, column] = 0.75
    log_size[0, :, row, column] = np.log(size)
    shift[0, :, row, column] = offset
    found = decode(outputs)
    assert found.boxes.tolist() == [pytest.approx(expected, abs=1e-4)]
    assert found.scores.tolist() == [0.75]
    assert found.classes.tolist() == [0]


def test_the_floor_itself_counts() -> None:
    outputs = maps(2, 2)
    outputs[0][0, 0] = [[0.5, np.nextafter(np.float32(0.5), np.float32(0))], [0.4, 0.6]]
    assert sorted(decode(outputs, 0.5).scores.tolist()) == pytest.approx([0.5, 0.6])


@settings(deadline=None)
@given(data=st.data(), rows=st.integers(1, 6), columns=st.integers(1, 6))
def test_any_finite_map_gives_sound_boxes(data: st.DataObject, rows: int, columns: int) -> None:
    outputs = [
        data.draw(npst.arrays(np.float32, (1, channels, rows, columns), elements=st.floats(low, high, width=32)))
        for channels, low, high in ((1, 0, 1), (2, -(2**70), 2**70), (2, -(2**70), 2**70))
    ]
    found = decode(outputs, 0.25)
    assert len(found.boxes) == (outputs[0] >= 0.25).sum()
    assert np.isfinite(found.boxes).all()
    assert (found.boxes[:, :2] <= found.boxes[:, 2:]).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [columns * 4, rows * 4] * 2).all()


@pytest.mark.parametrize(
    ("outputs", "classes"),
    [
        (maps(8, 8), 2),
        (maps(8, 8)[:2], 1),
        (maps(4, 8), 1),
        ([maps(8, 8)[1], maps(8, 8)[0], maps(8, 8)[2]], 1),
    ],
    ids=["two classes", "a map is missing", "another size", "another order"],
)
def test_other_outputs_are_refused(outputs: Maps, classes: int) -> None:
    with pytest.raises(ImageError, match="CenterFace"):
        decode_centerface(outputs, width=32, height=32, floor=0.5, classes=classes)


def test_decoders_are_found_by_name() -> None:
    assert all(decoder_named(name) is decoder for name, decoder in DECODERS.items())
    with pytest.raises(ImageError, match="yolo99"):
        decoder_named("yolo99")
