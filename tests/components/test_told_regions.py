"""What verify is told of a long film comes back frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.components.told_regions import ToldRegions


@given(st.lists(st.binary(max_size=3), max_size=700), st.data())
def test_every_frame_s_entry_comes_back(entries: list[bytes], data: st.DataObject) -> None:
    told = ToldRegions()
    for entry in entries:
        told.append(entry)
    assert len(told) == len(entries)
    assert told.nbytes == sum(map(len, entries))
    assert [told[frame] for frame in range(len(told))] == entries
    if entries:
        frame = data.draw(st.integers(0, len(entries) - 1))
        assert told[frame] == entries[frame]


@pytest.mark.parametrize("frames", [0, 255, 256, 300])
def test_nothing_is_told_of_frames_that_follow(frames: int) -> None:
    told = ToldRegions()
    for _ in range(frames):
        told.append(b"x")
    with pytest.raises(IndexError):
        told[frames]


def test_boxes_that_move_take_less_than_two_thirds_of_their_bytes() -> None:
    rng = np.random.default_rng(1)
    places = rng.uniform(20, 300, (1, 5, 4)) + np.cumsum(rng.normal(0, 1.5, (1024, 5, 4)), axis=0)
    numbers = np.broadcast_to(np.stack((np.arange(5), np.zeros(5), np.ones(5)), axis=1), (1024, 5, 3))
    frames = np.concatenate((places, numbers), axis=2).astype("<f4")
    told = ToldRegions()
    for frame in frames:
        told.append(frame.tobytes())
    kept = sum(len(packed) for packed, _ in told._packed)
    assert kept < told.nbytes * 2 / 3
