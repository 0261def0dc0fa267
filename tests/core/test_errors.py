"""The tree: every leaf has an exit status, a message that helps, and survives the way out of a component."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.errors import ComponentError, Failure, SourceCorrupt, VeilboxError, printable


def _all(root: type[VeilboxError]) -> list[type[VeilboxError]]:
    return [root, *chain.from_iterable(_all(child) for child in root.__subclasses__())]


@pytest.mark.parametrize("kind", _all(VeilboxError))
def test_every_kind_fails_and_is_documented(kind: type[VeilboxError]) -> None:
    assert 0 < kind.exit_code < 256
    assert 200 <= kind.http_status < 600
    assert kind.__doc__


def test_a_message_says_what_where_expected_actual_and_what_to_do() -> None:
    error = SourceCorrupt("ends early", where="a.mp4", expected="300 frames", actual="12", advice="Copy it again")
    assert str(error) == "a.mp4: ends early (expected 300 frames, got 12). Copy it again."


def test_a_failure_becomes_the_same_error_at_the_place_that_the_supervisor_knows() -> None:
    error = Failure.of(SourceCorrupt("ends early", expected="300", actual="12")).error("a.mp4")
    assert isinstance(error, SourceCorrupt)
    assert error.where == "a.mp4"


def test_a_hostile_kind_reads_as_a_component_error() -> None:
    assert type(Failure(kind="SystemExit", what="x").error("ingest")) is ComponentError


@given(st.text())
def test_printable_text_is_one_bounded_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= 500


def test_undecodable_bytes_of_a_file_name_are_escaped() -> None:
    assert printable(b"a\xff\n.mp4".decode("utf-8", "surrogateescape")) == "a\\xff\\n.mp4"
