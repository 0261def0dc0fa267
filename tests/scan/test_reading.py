"""Reading: positions are the file's, and what is no configuration or a bomb is refused."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.errors import UsageError
from veilbox.scan import reading
from veilbox.scan.reading import MAX_BYTES, MAX_DEPTH, parse
from veilbox.scan.tree import Node, Place

# Nine aliases of nine aliases: a thousand million values from a kilobyte.
BILLION = b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n".encode() for n in range(1, 10)
)


def only(data: bytes) -> Place:
    (node,) = parse(data)
    return Place.root(node)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"a: [", "neither YAML nor JSON"),
        (b"\xff\xfe", "not text"),
        (b"a: \x00", "neither YAML nor JSON"),
        (b"a: 1\na: 2\n", "twice"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b"[[1]]: 2\n", "a key must be text"),
        (b"a: *nothing\n", "alias"),
        (b"a: &a [*a]\n", "alias"),
        (b"<<: 1\n", "merged"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "deeply"),
        (b"[" * 100_000, "deeply"),
        (BILLION, "too many values"),
        (b"x" * (MAX_BYTES + 1), "too large"),
        (b"---\na: 1\n" * 10_001, "too many documents"),
        (b"a: {{ .Values.image }}\n", "a key must be text"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        parse(data)


def test_values_are_counted_with_what_aliases_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_VALUES", 9)
    assert parse(b"a: &a [1, 2]\nb: *a\n")[0].weight == 7
    with pytest.raises(UsageError, match="too many values"):
        parse(b"a: &a [1, 2]\nb: [*a, *a]\n")


@pytest.mark.parametrize(
    "data",
    [b"!!python/object/apply:os.system [id]\n", b"a: !!python/name:os.system\n", b"!!python/object:object {a: 1}\n"],
)
def test_a_tag_makes_no_object(data: bytes) -> None:
    assert all(isinstance(node, Node) for node in parse(data))


def test_places_know_line_column_and_path() -> None:
    place = only(b"spec:\n  list:\n    - a: 1\n      b.c: two\n").get("spec", "list")
    (item,) = place.each()
    found = item.get("b.c")
    assert (found.line, found.column, found.path, found.text) == (4, 7, "$.spec.list[0]['b.c']", "two")


def test_what_is_missing_points_at_what_is_there() -> None:
    absent = only(b"a:\n  b: 1\n").get("a", "c", "d")
    assert (absent.present, absent.path, absent.line, absent.shown) == (False, "$.a.c.d", 1, "not set")


def test_documents_after_each_other() -> None:
    assert [Place.root(node).get("a").text for node in parse(b"a: 1\n---\n---\na: 2\n...\n")] == ["1", "2"]


def test_json_may_be_indented_with_tabs() -> None:
    place = only(b'{\n\t"a": [\n\t\t{"b": "c\\td"}\n\t]\n}')
    assert [item.get("b").text for item in place.get("a").each()] == ["c\td"]
    assert place.get("a").line == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True), ("off", False), ("22:22", "22:22"), ("0o10", 8), ("010", 8), ("0x10", 16), ("1_000", 1000),
        ("'0'", "0"), ("!!str 1", "1"), ("0.5", "0.5"), ("-1", -1), ("9" * 60, "9" * 60), ("08", "08"),
    ],
)  # fmt: skip
def test_scalars(text: str, value: object) -> None:
    found = only(f"a: {text}\n".encode()).get("a").scalar
    assert found == value
    assert type(found) is type(value)


def test_null_is_nothing() -> None:
    assert not only(b"a: ~\nb: null\nc:\nd: 1").get("a").present


def test_a_merged_mapping_gives_what_is_not_set() -> None:
    service = only(b"x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\ns: {<<: [*x, *y], a: 0}\n").get("s")
    assert {key: place.text for key, place in service.items()} == {"a": "0", "b": "2", "c": "4"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(codec="ascii"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON.filter(lambda value: value is not None), st.sampled_from([None, 1, "\t"]))
def test_any_json_is_read_as_json(value: object, indent: int | str | None) -> None:
    (node,) = parse(json.dumps(value, indent=indent).encode())
    assert _plain(node) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        nodes = parse(data)
    except UsageError:
        return
    assert all(isinstance(node, Node) for node in nodes)


def _plain(node: Node) -> object:
    if isinstance(node.value, tuple):
        return [_plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {key: _plain(entry.node) for key, entry in node.value.items()}
    return node.value


def test_the_reader_is_the_one_in_c() -> None:
    assert yaml.__with_libyaml__
