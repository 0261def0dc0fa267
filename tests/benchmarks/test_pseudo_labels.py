"""Tracks of sure boxes become labels, with identities and without gaps."""

from __future__ import annotations

from pseudo_labels import LEAST_FRAMES, linked


def box(x: float, score: float = 0.9) -> dict[str, object]:
    return {"bbox": [x, 50.0, 20.0, 30.0], "score": score}


def test_a_gap_is_filled_and_one_person_is_one_track() -> None:
    placed = linked({frame: [box(100 + frame)] for frame in (*range(5), *range(8, 12))}, 320, 240, 12)
    assert [one.frame for one in placed] == list(range(12))
    assert len({one.track for one in placed}) == 1
    middle = next(one for one in placed if one.frame == 6)
    assert middle.box[0] <= 106
    assert middle.box[2] >= 126


def test_what_is_short_or_never_sure_is_nobody() -> None:
    short = {frame: [box(100)] for frame in range(LEAST_FRAMES - 1)}
    unsure = {frame: [box(200, 0.4)] for frame in range(12)}
    assert linked(short, 320, 240, 12) == []
    assert linked(unsure, 320, 240, 12) == []


def test_nothing_is_labelled_where_nobody_was_seen() -> None:
    placed = linked({frame: [box(100)] for frame in range(4, 10)}, 320, 240, 20)
    assert {one.frame for one in placed} == set(range(4, 10))
