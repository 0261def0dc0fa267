"""`frozen` against the standard library's dataclasses: the same values, made later."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.frozen import frozen


class _Stated:
    """What a maker of classes is given: a required field, defaults, a made default, one that is not compared."""

    def fresh(self) -> type[Any]:
        class Thing:
            """A thing."""

            name: str
            count: int = 2
            parts: tuple[int, ...] = ()
            words: dict[str, int] = field(default_factory=dict, compare=False)
            hidden: str = field(default="", repr=False)

            def __post_init__(self) -> None:
                if self.count < 0:
                    raise ValueError(self.count)

            @property
            def twice(self) -> int:
                """Twice the count."""
                return 2 * self.count

        Thing.__qualname__ = "Thing"
        return Thing


def standard() -> type[Any]:
    return dataclass(frozen=True, kw_only=True, slots=True)(_Stated().fresh())


def ours() -> type[Any]:
    return frozen(_Stated().fresh())


@frozen
class Kept:
    """A value that pickles: it stands in a module."""

    name: str
    parts: tuple[int, ...] = ()


@frozen(kw_only=False)
class Pair:
    """A value whose constructor takes its fields in order."""

    first: int
    second: int = 0


@frozen
class OwnWords:
    """A value that says itself how it prints and compares."""

    name: str

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnWords)

    def __hash__(self) -> int:
        return 7


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda thing: repr(thing(name="a", count=3, hidden="s")), id="repr"),
        pytest.param(lambda thing: thing(name="a") == thing(name="a"), id="equal"),
        pytest.param(lambda thing: thing(name="a") == thing(name="a", count=3), id="different"),
        pytest.param(
            lambda thing: thing(name="a", words={"x": 1}) == thing(name="a"), id="a field that is not compared"
        ),
        pytest.param(lambda thing: thing(name="a") == "a", id="another class"),
        pytest.param(lambda thing: hash(thing(name="a", parts=(1, 2))), id="hash"),
        pytest.param(lambda thing: asdict(thing(name="a")), id="asdict"),
        pytest.param(lambda thing: repr(replace(thing(name="a"), count=5)), id="replace"),
        pytest.param(lambda thing: repr(copy.deepcopy(thing(name="a", words={"x": 1}))), id="deepcopy"),
        pytest.param(lambda thing: thing(name="a").words is thing(name="a").words, id="each has its own made default"),
        pytest.param(lambda thing: [(one.name, one.type) for one in fields(thing)], id="fields"),
        pytest.param(lambda thing: (thing.__name__, thing.__doc__, thing.__slots__, thing.__match_args__), id="class"),
        pytest.param(lambda thing: thing(name="a", count=4).twice, id="property"),
        pytest.param(lambda thing: msgspec.json.encode(thing(name="a", parts=(1,))), id="encoded"),
        pytest.param(lambda thing: thing(), id="a field is missing"),
        pytest.param(lambda thing: thing("a"), id="keywords only"),
        pytest.param(lambda thing: thing(name="a", other=1), id="no such field"),
        pytest.param(lambda thing: thing(name="a", count=-1), id="refused by its own check"),
        pytest.param(lambda thing: setattr(thing(name="a"), "name", "b"), id="assigned"),
        pytest.param(lambda thing: delattr(thing(name="a"), "name"), id="deleted"),
    ],
)
def test_it_is_what_the_standard_library_makes(use: Callable[[type[Any]], object]) -> None:
    assert outcome(use, ours()) == outcome(use, standard())


def outcome(use: Callable[[type[Any]], object], thing: type[Any]) -> object:
    """The result, or the class of what was raised; words of `FrozenInstanceError` are our own."""
    try:
        return use(thing)
    except FrozenInstanceError as error:
        return type(error)
    except (TypeError, ValueError) as error:
        return type(error), str(error).replace("_Stated.fresh.<locals>.", "")


@given(st.text(), st.integers(0), st.lists(st.integers()))
def test_equal_values_are_equal_and_hash_alike(name: str, count: int, parts: list[int]) -> None:
    thing = ours()
    one, other = (thing(name=name, count=count, parts=tuple(parts)) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)


def test_msgspec_reads_one_and_runs_its_check() -> None:
    assert msgspec.json.decode(b'{"name":"a","parts":[1]}', type=Kept) == Kept(name="a", parts=(1,))


def test_it_pickles() -> None:
    assert pickle.loads(pickle.dumps(Kept(name="a", parts=(1,)))) == Kept(name="a", parts=(1,))  # noqa: S301


def test_fields_in_order_where_that_is_asked_for() -> None:
    assert Pair(1, 2) == Pair(first=1, second=2)
    match Pair(3):
        case Pair(first, second):
            assert (first, second) == (3, 0)


def test_what_a_class_writes_itself_stays() -> None:
    assert (repr(OwnWords(name="a")), OwnWords(name="a") == OwnWords(name="b"), hash(OwnWords(name="a"))) == (
        "a",
        True,
        7,
    )


def test_nothing_is_compiled_before_it_is_used() -> None:
    """The interpreter tells of every text that is compiled; the standard library compiles one for each method."""
    program = """
import sys
compiled = []
from veilbox.core.frozen import frozen
sys.addaudithook(lambda event, given: compiled.append(given[1]) if event == "compile" else None)
@frozen
class Kept:
    "A value."
    name: str
assert not compiled, compiled
Kept(name="a")
assert len(compiled) >= 1
before = len(compiled)
Kept(name="b")
assert len(compiled) == before
"""
    subprocess.run([sys.executable, "-c", program], check=True)
