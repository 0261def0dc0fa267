"""Tiles share a picture out without gap or quarrel, and no box that fits the overlap is cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilbox.vision.detect.looks import TILE, Look, looks, tiles, whole

STRIDE = 32
SIDE, OVERLAP = 96, 32
lengths = st.integers(1, 20).map(lambda count: count * STRIDE)


def cut(width: int, height: int) -> tuple[Look, ...]:
    return tiles(width, height, side=SIDE, overlap=OVERLAP)


@given(lengths, lengths, st.data())
@settings(deadline=None)
def test_every_point_belongs_to_one_tile(width: int, height: int, data: st.DataObject) -> None:
    x, y = data.draw(st.floats(0, width, width=32)), data.draw(st.floats(0, height, width=32))
    point = np.array([[x - 1, y - 1, x + 1, y + 1]], np.float32)
    assert sum(int(look.owns(point)[0]) for look in cut(width, height)) == 1


@given(lengths, lengths, st.data())
@settings(deadline=None)
def test_a_box_within_the_overlap_lies_wholly_in_its_tile(width: int, height: int, data: st.DataObject) -> None:
    box_width = data.draw(st.integers(1, min(OVERLAP, width)))
    box_height = data.draw(st.integers(1, min(OVERLAP, height)))
    x = data.draw(st.integers(0, width - box_width))
    y = data.draw(st.integers(0, height - box_height))
    box = np.array([[x, y, x + box_width, y + box_height]], np.float32)
    (owner,) = [look for look in cut(width, height) if look.owns(box)[0]]
    assert owner.left <= x
    assert x + box_width <= owner.left + owner.width
    assert owner.top <= y
    assert y + box_height <= owner.top + owner.height


@given(lengths, lengths)
@settings(deadline=None)
def test_tiles_stay_inside_and_are_no_larger_than_allowed(width: int, height: int) -> None:
    for look in cut(width, height):
        assert 0 <= look.left <= look.left + look.width <= width
        assert 0 <= look.top <= look.top + look.height <= height
        assert max(look.width, look.height) <= SIDE
        assert (look.seen_width, look.seen_height) == (look.width, look.height)
        assert look.seen_width % STRIDE == look.seen_height % STRIDE == 0


@given(lengths, lengths, st.integers(STRIDE, 20 * STRIDE))
@settings(deadline=None)
def test_the_whole_fits_the_stride_and_grows_never(width: int, height: int, longest: int) -> None:
    look = whole(width, height, longest=longest, stride=STRIDE)
    assert look.seen_width % STRIDE == look.seen_height % STRIDE == 0
    assert STRIDE <= look.seen_width <= width
    assert STRIDE <= look.seen_height <= height
    assert max(look.seen_width, look.seen_height) < longest + STRIDE


@given(lengths, lengths, st.integers(STRIDE, 20 * STRIDE))
@settings(deadline=None)
def test_corners_come_back_where_they_were(width: int, height: int, longest: int) -> None:
    look = whole(width, height, longest=longest, stride=STRIDE)
    corners = np.array([[0, 0, look.seen_width, look.seen_height]], np.float32)
    assert look.placed(corners) == pytest.approx(np.array([[0, 0, width, height]], np.float32))
    for tile in cut(width, height):
        edges = tile.placed(np.array([[0, 0, tile.seen_width, tile.seen_height]], np.float32))[0]
        assert edges.tolist() == [tile.left, tile.top, tile.left + tile.width, tile.top + tile.height]


@pytest.mark.parametrize(
    ("size", "longest", "shares", "seen"),
    [
        ((640, 352), None, (1.0,), [(640, 352)]),
        ((640, 352), None, (1.0, 0.5), [(640, 352), (320, 192)]),
        ((960, 544), 640, (1.0,), [(640, 384)]),
        ((640, 352), 1280, (1.0, 1.0), [(640, 352)]),
        ((32, 32), None, (1.0, 0.5), [(32, 32)]),
        ((2560, 1280), None, (1.0,), [(1280, 1280)] * 3 + [(1280, 640)]),
        ((4096, 64), 640, (1.0,), [(640, 32)]),
    ],
)
def test_the_looks_at_a_picture(
    size: tuple[int, int], longest: int | None, shares: tuple[float, ...], seen: list[tuple[int, int]]
) -> None:
    found = looks(*size, stride=STRIDE, longest=longest, shares=shares)
    assert [(look.seen_width, look.seen_height) for look in found] == seen


def test_what_lies_beyond_the_part_is_cut_off_and_empty_boxes_are_none() -> None:
    look = whole(64, 32, longest=32, stride=16)
    assert (look.seen_width, look.seen_height) == (32, 16)
    placed = look.placed(np.array([[8, 8, 24, 24], [4, 18, 20, 30], [0, 0, 32, 16]], np.float32))
    assert placed.tolist() == [[16, 16, 48, 32], [8, 32, 40, 32], [0, 0, 64, 32]]
    assert look.owns(placed).tolist() == [True, False, True]


def test_no_model_reads_more_at_once_than_a_tile() -> None:
    for width, height in itertools.product((32, 1280, 1312, 4096), repeat=2):
        for look in looks(width, height, stride=STRIDE, shares=(1.0, 0.5)):
            assert look.seen_width * look.seen_height <= TILE * TILE
