"""A picture made smaller is what it was, averaged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from veilbox.vision.detect.scaling import shrunk

sides = st.integers(1, 40)


@given(sides, sides, st.data())
@settings(deadline=None)
def test_a_plain_picture_stays_plain_at_every_size(rows: int, columns: int, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    colour = np.array(data.draw(st.tuples(*[st.integers(0, 255)] * 3)), np.uint8)
    picture = np.broadcast_to(colour, (rows, columns, 3)).copy()
    small = shrunk(picture, width, height)
    assert small.shape == (height, width, 3)
    assert small.dtype == np.uint8
    assert small.flags.c_contiguous
    assert (small == colour).all()


@given(st.integers(0, 2**32 - 1), sides, sides, st.data())
@settings(deadline=None)
def test_it_never_leaves_the_range_and_keeps_the_sides_of_a_mirror(
    seed: int, rows: int, columns: int, data: st.DataObject
) -> None:
    height, width = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    picture = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)
    small = shrunk(picture, width, height)
    assert small.min() >= picture.min()
    assert small.max() <= picture.max()
    mirrored = shrunk(picture[::-1, ::-1].copy(), width, height)[::-1, ::-1]
    # A value that lies between two is rounded to either.
    assert np.abs(small.astype(int) - mirrored.astype(int)).max() <= 1


def test_the_same_size_is_the_same_picture() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    assert shrunk(picture, 6, 4) is picture


@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 50), (100, 70), (31, 95)])
def test_it_is_what_pillow_makes(width: int, height: int) -> None:
    picture = np.random.default_rng(5).integers(0, 256, (96, 128, 3), np.uint8)
    expected = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(shrunk(picture, width, height).astype(int) - expected).max() <= 1


def test_a_fine_pattern_turns_grey_and_not_coarse() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, ::2] = 255
    small = shrunk(picture, 16, 16)[:, 1:-1]
    assert np.abs(small.astype(int) - 127).max() <= 16
