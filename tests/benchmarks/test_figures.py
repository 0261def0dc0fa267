"""The table says what was reached, and admits what was not measured."""

from __future__ import annotations

import pytest
from figures import Figure, table


@pytest.mark.parametrize(
    ("goal", "values", "verdict"),
    [
        pytest.param("<= 1.25", (1.0, 1.25, 9.0), "met", id="the median counts, the bound included"),
        pytest.param("<= 1.25", (1.26,), "NOT met", id="above a bound from above"),
        pytest.param(">= 15", (14.9, 15.0, 15.1), "met", id="at a bound from below"),
        pytest.param(">= 15", (4.0,), "NOT met", id="below it"),
        pytest.param(">= 15", (), "not measured", id="nothing was measured"),
        pytest.param("", (4.0,), "", id="no goal"),
    ],
)
def test_the_verdict_is_of_the_median(goal: str, values: tuple[float, ...], verdict: str) -> None:
    assert Figure(name="x", unit="s", values=values, goal=goal).verdict == verdict


def test_rows_with_a_goal_come_first_and_spread_is_printed() -> None:
    explains = Figure(name="explains", unit="ms", values=(1.0, 2.0, 4.0))
    judged = Figure(name="judged", unit="ratio", values=(), goal="<= 2", note="because")
    _, first, second, note = table([explains, judged])
    assert first.split() == ["judged", "<=", "2", "-", "-", "-", "ratio", "not", "measured"]
    assert second.split() == ["explains", "2.00", "1.00", "4.00", "ms"]
    assert note == "judged: because"
