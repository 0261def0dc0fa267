"""Where a detector looks: whole at the ends of stretches, and between them wherever the ends do not agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.detections import Detections
from veilbox.core.seen import Seen
from veilbox.vision.detect.adaptive import AdaptiveStride, Answer, Glimpse, glimpse
from veilbox.vision.detect.parts import Place

LONGEST, THRESHOLD, FLOOR = 6, 0.2, 0.1
SHAPE = (22, 40)
Row = tuple[float, float, float, float, float]


def still() -> Glimpse:
    return np.full(SHAPE, 100, np.float32)


def face(x: float, score: float = 0.9, side: float = 40) -> Row:
    return x, 100, x + side, 100 + side, score


class Film:
    """What a detector would find in each frame, and what it was asked."""

    def __init__(self, frames: Sequence[Sequence[Row]], glimpses: Sequence[Glimpse] | None = None) -> None:
        self.frames = frames
        self.glimpses = glimpses or [still()] * len(frames)
        self.asked: list[tuple[int, Sequence[Place] | None]] = []

    def look(self, index: int, places: Sequence[Place] | None) -> Detections:
        self.asked.append((index, places))
        rows = [row for row in self.frames[index] if places is None or _shown(row, places)]
        table = np.array(rows, np.float32).reshape(-1, 5)
        return Detections(table[:, :4].copy(), table[:, 4].copy(), np.zeros(len(table), np.int32))

    def answers(self, longest: int = LONGEST) -> list[Answer]:
        adaptive = AdaptiveStride(self.look, longest=longest, threshold=THRESHOLD, floor=FLOOR)
        answers = [answer for index, seen in enumerate(self.glimpses) for answer in adaptive.take(index, seen)]
        return [*answers, *adaptive.end()]

    def seen(self) -> str:
        """W, P or a dot for each frame."""
        return "".join(".PW"[answer.seen] for answer in self.answers())


def _shown(row: Row, places: Sequence[Place]) -> bool:
    x, y = (row[0] + row[2]) / 2, (row[1] + row[3]) / 2
    return any(x1 <= x < x2 and y1 <= y < y2 for x1, y1, x2, y2 in places)


_PACES: dict[str, tuple[list[list[Row]], str]] = {
    "nobody": ([[]] * 13, "W.....W.....W"),
    "somebody who stays": ([[face(100)]] * 13, "W.....W.....W"),
    "somebody who walks slowly": ([[face(100 + 2 * n)] for n in range(13)], "W.....W.....W"),
    "somebody who comes": ([[]] * 3 + [[face(100)]] * 10, "W.PP..W.....W"),
    "somebody who is not sure": ([[face(100, 0.15)]] * 7, "WPPPPPW"),
    "noise": ([[face(100, 0.05)]] * 7, "W.....W"),
    "somebody who flickers at an end": ([[face(100)]] * 6 + [[]] + [[face(100)]] * 6, "W..P.PWPPP..W"),
    "somebody who goes behind somebody": ([[face(100), face(112)]] * 4 + [[face(106)]] * 3, "W..PPPW"),
    "a film that ends within a stretch": ([[]] * 9, "W.....W.W"),
    "one frame": ([[face(100)]], "W"),
}


@pytest.mark.parametrize(("frames", "seen"), _PACES.values(), ids=_PACES.keys())
def test_looks_by_what_is_there(frames: list[list[Row]], seen: str) -> None:
    assert Film(frames).seen() == seen


def test_somebody_fast_is_asked_for_until_the_speed_is_known() -> None:
    seen = Film([[face(100 + 8 * n)] for n in range(25)]).seen()
    assert "P" in seen[:7]
    assert seen[7:] == ".....W.....W.....W"


def test_questions_go_to_the_place_where_the_ends_differ() -> None:
    film = Film([[face(500)]] * 3 + [[face(500), face(100)]] * 4)
    film.answers()
    places = [place for _, asked in film.asked for place in asked or ()]
    assert places
    assert all(x2 < 400 for _, _, x2, _ in places)


def test_both_sides_of_a_cut_are_looked_at() -> None:
    dark = np.zeros(SHAPE, np.float32)
    film = Film([[]] * 7, [still()] * 3 + [dark] * 4)
    assert film.seen() == "W.WW..W"


def test_what_flashes_up_between_the_ends_is_looked_at() -> None:
    flash = still()
    flash[5:8, 10:13] = 200
    glimpses = [still()] * 7
    glimpses[3] = flash
    frames: list[list[Row]] = [[] for _ in range(7)]
    frames[3] = [face(160, side=30)]
    answers = Film(frames, glimpses).answers()
    assert len(answers[3].found) == 1


def test_somebody_lost_is_asked_for_while_the_track_could_go_on() -> None:
    film = Film([[face(100)]] * 4 + [[]] * 8 + [[face(100)]] + [[]] * 12)
    assert "P" in film.seen()[7:12]


@given(
    st.lists(st.lists(st.builds(face, st.floats(0, 600), st.floats(0.01, 0.99)), max_size=3), min_size=1, max_size=20),
    st.integers(2, 12),
)
def test_every_frame_is_answered_once_and_no_frame_is_looked_at_twice(frames: list[list[Row]], longest: int) -> None:
    film = Film(frames)
    answers = film.answers(longest)
    assert [answer.index for answer in answers] == list(range(len(frames)))
    assert len({index for index, _ in film.asked}) == len(film.asked)
    for answer in answers:
        assert (answer.seen is Seen.WHOLE) >= (answer.index % longest == 0)
        assert (answer.seen is Seen.NOT) <= (len(answer.found) == 0)


def test_a_glimpse_is_the_mean_of_green_in_each_block() -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16, 16:32, 1] = 80
    picture[16:, :, 0] = 255
    assert glimpse(picture).tolist() == [[0, 80, 0], [0, 0, 0]]
