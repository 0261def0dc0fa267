"""Parts of a picture show every place that is asked for, and no point twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.vision.detect.parts import Place, parts

WIDTH, HEIGHT, STRIDE = 640, 352, 32

PLACES = st.lists(
    st.tuples(st.floats(-50, 700), st.floats(-50, 400), st.floats(1, 60), st.floats(1, 60)).map(
        lambda one: (one[0], one[1], one[0] + one[2], one[1] + one[3])
    ),
    max_size=12,
)


@given(PLACES)
def test_every_place_is_shown_with_what_is_around_it_and_no_point_twice(places: list[Place]) -> None:
    looks = parts(WIDTH, HEIGHT, places, stride=STRIDE)
    if looks is None:
        return
    shown = np.zeros((HEIGHT, WIDTH), np.uint8)
    for look in looks:
        assert look.width % STRIDE == look.height % STRIDE == 0
        assert (look.seen_width, look.seen_height) == (look.width, look.height)
        shown[look.top : look.top + look.height, look.left : look.left + look.width] += 1
    assert shown.max(initial=0) <= 1
    for x1, y1, x2, y2 in places:
        rows, columns = (
            slice(max(0, int(low)), max(0, min(side, int(high))))
            for low, high, side in ((y1 - 16, y2 + 16, HEIGHT), (x1 - 16, x2 + 16, WIDTH))
        )
        assert shown[rows, columns].all()


_WHOLE: dict[str, list[Place]] = {
    "a place of half the picture": [(0, 0, 320, 352)],
    "places all over": [(float(x), float(y), x + 10.0, y + 10.0) for x in (60, 240, 420, 600) for y in (60, 180, 300)],
}


@pytest.mark.parametrize("places", _WHOLE.values(), ids=_WHOLE.keys())
def test_where_parts_are_no_cheaper_the_whole_is_looked_at(places: list[Place]) -> None:
    assert parts(WIDTH, HEIGHT, places, stride=STRIDE) is None


def test_a_part_is_never_larger_than_what_a_model_reads_at_once() -> None:
    assert parts(4096, 4096, [(0, 0, 1400, 20)], stride=STRIDE) is None


def test_places_outside_need_no_look() -> None:
    assert parts(WIDTH, HEIGHT, [(900, 900, 950, 950)], stride=STRIDE) == ()


def test_a_box_at_a_border_of_a_part_is_not_told_but_at_the_pictures_own_it_is() -> None:
    looks = parts(WIDTH, HEIGHT, [(0, 100, 40, 140)], stride=STRIDE)
    assert looks is not None
    (look,) = looks
    right = look.left + look.width
    boxes = np.array([[0, 100, 40, 140], [right - 60, 100, right - 30, 140], [right - 40, 100, right, 140]], np.float32)
    assert look.owns(boxes).tolist() == [True, True, False]
