from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.isolation import GATES, Gate, Level, measure


def gate(name: str, *, held: bool = True) -> Gate:
    return Gate(name=name, tried="tried", found="found", held=held)


def all_up_to(level: Level) -> list[Gate]:
    return [gate(name) for name, guards in GATES.items() if guards <= level]


@pytest.mark.parametrize("level", [level for level in Level if level > Level.OPEN])
def test_a_level_needs_every_gate_of_it_and_below(level: Level) -> None:
    assert measure(all_up_to(level)).level == level


@given(st.sampled_from(sorted(GATES)), st.booleans())
def test_one_failed_or_absent_gate_caps_the_level_and_is_named(name: str, absent: bool) -> None:
    gates = [gate(other) for other in GATES if other != name]
    if not absent:
        gates.append(gate(name, held=False))
    measured = measure(gates)
    assert (measured.level, measured.failed) == (GATES[name] - 1, name)


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_a_gate_reported_twice_holds_only_if_both_do(order: tuple[bool, bool]) -> None:
    twice = [gate("uid-not-root", held=held) for held in order]
    others = [gate(name) for name in GATES if name != "uid-not-root"]
    assert measure([*others, *twice]).failed == "uid-not-root"


def test_nothing_tried_is_open() -> None:
    assert measure([]).level == Level.OPEN
    assert measure([]).failed == "pid-namespace"


def test_the_top_has_no_failed_gate() -> None:
    assert measure(all_up_to(Level.ATTESTED)).failed == ""


def test_unknown_gates_change_nothing() -> None:
    assert measure([*all_up_to(Level.SEPARATED), gate("moat", held=False)]).level == Level.SEPARATED
