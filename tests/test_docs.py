"""The documentation keeps to the code: links, named tests, tables of gates, errors, options and report fields."""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from veilbox.cli import main
from veilbox.core.errors import VeilboxError
from veilbox.core.isolation import GATES
from veilbox.core.policy import Policy
from veilbox.orchestrate.report import report_schema
from veilbox.vision.detect.card_file import parse_card

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
REFERENCE = DOCS / "reference"

# Tight pages are read: the architecture in one sitting, a decision in two minutes.
LONGEST = {"architecture.md": 250, "threat-model.md": 200, "adr": 60}

_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
_TEST = re.compile(r"`?(tests/[\w/]+\.py)::(test_\w+)")


def rows(page: str, columns: int) -> Iterator[tuple[str, ...]]:
    """Rows of a page's tables that have so many columns and a name in backquotes first; backquotes taken off."""
    for line in (REFERENCE / page).read_text("utf-8").splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == columns:
            yield tuple(cells)


def page_ids(page: Path) -> str:
    return str(page.relative_to(DOCS))


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_links_resolve(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text("utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    named = _TEST.findall(page.read_text("utf-8"))
    assert [f"{file}::{name}" for file, name in named if not _defines(ROOT / file, name)] == []


def _defines(file: Path, name: str) -> bool:
    return file.is_file() and re.search(rf"^\s*def {name}\(", file.read_text("utf-8"), re.MULTILINE) is not None


def test_every_page_is_in_the_index() -> None:
    linked = {(DOCS / target).resolve() for target in _LINK.findall((DOCS / "README.md").read_text("utf-8"))}
    assert [page_ids(page) for page in PAGES if page.name != "README.md" and page.resolve() not in linked] == []


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_pages_are_tight(page: Path) -> None:
    lines = page.read_text("utf-8").splitlines()
    assert len(lines) <= LONGEST.get(page.name, LONGEST.get(page.parent.name, 250))


def test_gates_are_those_of_the_scale_in_its_order() -> None:
    assert [(name, int(level)) for name, level, *_ in rows("gates.md", 5)] == [
        (name, int(level)) for name, level in GATES.items()
    ]


def tree(kind: type[VeilboxError]) -> Iterator[type[VeilboxError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def test_errors_are_those_of_the_tree() -> None:
    documented = {row[0]: row[1:6] for row in rows("errors.md", 7)}
    actual = {
        kind.__name__: (
            kind.__base__.__name__ if kind is not VeilboxError and kind.__base__ else "-",
            str(kind.exit_code),
            str(kind.http_status),
            kind.fault.value,
            "yes" if kind.retryable else "no",
        )
        for kind in tree(VeilboxError)
        if kind.__module__ == VeilboxError.__module__
    }
    assert documented == actual


def test_every_exit_code_is_in_the_architecture() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    for kind in tree(VeilboxError):
        if kind.__module__ == VeilboxError.__module__:
            assert re.search(rf"^\|[^|]*`{kind.__name__}`[^|]*\| {kind.exit_code} \|", text, re.MULTILINE), kind


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from options(child)
        yield from (option for option in action.option_strings if option.startswith("--"))


def test_every_option_is_documented() -> None:
    text = "".join((REFERENCE / page).read_text("utf-8") for page in ("cli.md", "cli-images.md"))
    asked = set(options(main._parser())) - {"--help"}
    assert {option for option in asked if f"`{option}`" not in text} == set()
    assert set(re.findall(r"`(--[a-z-]+)`", text)) <= asked | {"--help"}


def fields(kind: type, place: str = "") -> Iterator[str]:
    """Dotted names of a policy's fields."""
    for name, inner in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            yield from fields(inner, f"{place}{name}.")
        else:
            yield place + name


def test_fields_of_the_policy_file_are_those_of_the_policy() -> None:
    assert {name for name, *_ in rows("policy.md", 3)} - {"version"} == {*fields(Policy)}


def test_every_field_of_the_report_is_documented() -> None:
    text = (REFERENCE / "report.md").read_text("utf-8")
    fields = {name for part in report_schema()["$defs"].values() for name in part.get("properties", {})}
    # How a picture's gates are called is one table for all; the rest of the names are the report's own.
    assert {name for name in fields if f"`{name}`" not in text} == set()


def test_the_card_that_is_shown_is_a_card() -> None:
    text = (DOCS / "how-to" / "bring-a-model.md").read_text("utf-8")
    shown = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    shown = shown[: shown.rindex("}") + 1].replace("sha256:...", "sha256:" + "0" * 64)
    card = parse_card(shown.encode())
    built_in = msgspec.json.decode((ROOT / "src/veilbox/oci/image/models/centerface/card.json").read_bytes())
    assert msgspec.json.decode(shown.encode()) == built_in | {"digest": str(card.digest)}
