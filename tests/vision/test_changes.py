"""Of each frame only what changed is looked at, and nothing that every frame shows is lost by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from veilbox.core.detections import Detections
from veilbox.vision.detect.changes import ChangedPlaces
from veilbox.vision.detect.glance import Glance
from veilbox.vision.detect.parts import Place, parts

Picture = NDArray[np.uint8]
ROWS, COLUMNS, STRIDE = 352, 640, 32
GROUND, FACE = 90, 200


def picture(*faces: tuple[int, int, int]) -> Picture:
    """Bright squares (column, row, side) on a plain ground."""
    result = np.full((ROWS, COLUMNS, 3), GROUND, np.uint8)
    for column, row, side in faces:
        result[row : row + side, column : column + side] = FACE
    return result


class Bright:
    """Finds bright squares that do not touch; a part shows what is in it, cut by its borders."""

    nms_iou = 0.3

    def __init__(self) -> None:
        self.wholes = 0
        self.parts = 0

    def detect(self, picture: Picture) -> Detections:
        self.wholes += 1
        return _detections(_squares(picture, 0, 0))

    def glance(self, picture: Picture, places: Sequence[Place]) -> Glance | None:
        looks = parts(COLUMNS, ROWS, places, stride=STRIDE)
        if looks is None:
            return None
        self.parts += len(looks)
        found, cut = [], []
        for look in looks:
            part = picture[look.top : look.top + look.height, look.left : look.left + look.width]
            boxes = np.array(_squares(part, look.left, look.top), np.float32).reshape(-1, 4)
            found += boxes[look.owns(boxes)].tolist()
            cut += boxes[look.cuts(boxes)].tolist()
        return Glance(found=_detections(found), cut=_detections(cut))


def _squares(picture: Picture, left: int, top: int) -> list[list[float]]:
    """Boxes of connected bright samples, for squares that share no row or column gap of darkness."""
    bright = picture[:, :, 1] == FACE
    boxes = []
    while bright.any():
        row, column = np.argwhere(bright)[0]
        right = column + int(np.argmin(np.append(bright[row, column:], False)))
        bottom = row + int(np.argmin(np.append(bright[row:, column], False)))
        bright[row:bottom, column:right] = False
        boxes.append([float(left + column), float(top + row), float(left + right), float(top + bottom)])
    return boxes


def _detections(boxes: Sequence[Sequence[float]]) -> Detections:
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(rows, np.full(len(rows), 0.9, np.float32), np.zeros(len(rows), np.int32))


def told(found: Detections) -> list[list[float]]:
    return sorted(found.boxes.tolist())


def test_a_still_film_is_looked_at_once_in_twelve_frames() -> None:
    looker = Bright()
    changes = ChangedPlaces(looker)
    for _ in range(25):
        assert told(changes.detect(picture((100, 100, 40)))) == [[100, 100, 140, 140]]
    assert (looker.wholes, looker.parts) == (3, 0)


STEPS = [
    pytest.param([(100, 100, 40)], [(100, 100, 40), (400, 200, 8)], id="a face of eight pixels comes"),
    pytest.param([(100, 100, 40), (400, 200, 30)], [(400, 200, 30)], id="a face goes"),
    pytest.param([(100, 100, 40)], [(112, 104, 40)], id="a face moves"),
    pytest.param([(600, 320, 40)], [(604, 324, 28)], id="in the last corner"),
    pytest.param([], [(0, 0, 20)], id="in the first corner"),
]


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_what_changes_is_seen_in_its_frame_by_looks_at_parts(
    before: list[tuple[int, int, int]], after: list[tuple[int, int, int]]
) -> None:
    looker = Bright()
    changes = ChangedPlaces(looker)
    changes.detect(picture(*before))
    found = changes.detect(picture(*after))
    assert told(found) == told(Bright().detect(picture(*after)))
    assert looker.wholes == 1
    assert looker.parts >= 1


class BlindAtFirst(Bright):
    """Misses everything in its first look, as a model may."""

    def detect(self, picture: Picture) -> Detections:
        found = super().detect(picture)
        return found if self.wholes > 1 else Detections.empty()


def test_what_a_parts_border_would_cut_is_looked_at_whole() -> None:
    """Of something large, that nobody knew of, a small place changes."""
    looker = BlindAtFirst()
    changes = ChangedPlaces(looker)
    changes.detect(picture((100, 100, 150)))
    dented = picture((100, 100, 150))
    dented[170:186, 170:186] = FACE - 60
    assert told(changes.detect(dented)) == [[100, 100, 250, 250]]
    assert looker.wholes == 2


def test_what_comes_slowly_adds_up() -> None:
    """Each frame changes by less than a difference that counts."""
    looker = Bright()
    changes = ChangedPlaces(looker)
    for level in range(8):
        frame = picture()
        frame[100:140, 100:140] = GROUND + level
        changes.detect(frame)
    assert looker.parts >= 3


def test_a_picture_that_changes_everywhere_is_looked_at_whole() -> None:
    looker = Bright()
    changes = ChangedPlaces(looker)
    changes.detect(picture())
    changes.detect(picture() + np.uint8(20))
    assert (looker.wholes, looker.parts) == (2, 0)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.integers(8, 60)), max_size=5),
        min_size=2,
        max_size=8,
    )
)
def test_it_tells_what_looks_at_every_frame_tell_to_two_pixels(frames: list[list[tuple[int, int, int]]]) -> None:
    changes, every = ChangedPlaces(Bright()), Bright()
    for faces in frames:
        # One in each fifth of the picture, so that none touches another.
        shown = picture(*{lane: (lane * 128 + at, 100 + at, side) for lane, at, side in faces}.values())
        near, exact = told(changes.detect(shown)), told(every.detect(shown))
        assert len(near) == len(exact)
        # A side that moves by a pixel changes too few samples to count.
        assert np.abs(np.array(near) - np.array(exact)).max(initial=0) <= 2
