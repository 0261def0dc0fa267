from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.isolation import DEEP, GATES, Gate, Level, guarded, measure, severity


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


def test_a_finding_beside_the_scale_caps_its_level_where_it_was_tried() -> None:
    gates = [Gate(name=name, tried="", found="", held=True) for name in GATES]
    assert measure(gates).level == Level.ATTESTED
    for name, level in DEEP.items():
        for held in (True, False):
            found = measure([*gates, Gate(name=name, tried="", found="", held=held)])
            falls = not held and level is not None
            assert found.level == (level - 1 if falls and level is not None else Level.ATTESTED)
            assert found.failed == (name if falls else "")


def test_severity_follows_the_level() -> None:
    assert severity("host-files-absent") == "high"
    assert severity("seccomp-active") == "medium"
    assert severity("attested") == "low"
    assert severity("kernel-identity") == "info"
    assert guarded("cgroup-read-only") == Level.CONFINED
