"""Charts say what the figures say, and say it with the same bytes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from bench_chart import drawn
from chart import Panel, Series, page
from growth import straight


def run(commit: str, value: float, *, quick: bool = False, name: str = "first clean frame") -> dict[str, Any]:
    figure = {"name": name, "values": [value, 2 * value], "median": 1.5 * value, "goal": "<= 600"}
    return {"machine": {"commit": commit, "date": commit}, "quick": quick, "figures": [figure]}


def elements(picture: str, tag: str) -> list[str]:
    return re.findall(rf"<{tag}[ >][^<]*", picture)


def test_each_run_is_a_point_and_older_names_count() -> None:
    history = [run("a", 400, name="all containers started"), run("b", 90, name="all containers created and started")]
    picture = drawn(history)
    assert len(elements(picture, "circle")) == 2
    assert sum("all containers started" in words for words in elements(picture, "text")) == 1


def test_what_was_never_measured_has_no_panel_and_goals_are_drawn() -> None:
    picture = drawn([run("a", 400), run("b", 300, quick=True)])
    assert len(elements(picture, "g")) == 1
    assert len([path for path in elements(picture, "path") if "stroke-dasharray" in path]) == 1
    assert {"whole runs", "quick runs"} <= {words.split("\u25cf ")[-1][:10] for words in elements(picture, "text")}


def test_the_same_figures_give_the_same_bytes_and_words_are_escaped() -> None:
    panel = Panel(title="a < b & c", series=[Series(name="x", points=[(0, 1), (1, 3)])])
    assert page([panel]) == page([panel])
    assert ">a &lt; b &amp; c</text>" in page([panel])


@pytest.mark.parametrize(
    ("points", "slope", "off"),
    [
        pytest.param([(0, 1.0), (1, 3.0), (2, 5.0)], 2.0, 0.0, id="a line is a line"),
        pytest.param([(0, 0.0), (1, 1.0), (2, 4.0)], 2.0, 1 / 6, id="a square is none"),
    ],
)
def test_how_far_from_a_line(points: list[tuple[float, float]], slope: float, off: float) -> None:
    line = straight(points)
    assert line.slope == pytest.approx(slope)
    assert line.off == pytest.approx(off, abs=1e-9)
