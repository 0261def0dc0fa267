"""How the image actions print: one JSON document, or a table for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from veilbox.core.errors import printable


def say(text: str) -> None:
    """A line of progress, on standard error."""
    sys.stderr.write(f"{text}\n")


def print_rows(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str], *, as_json: bool) -> None:
    """Print rows.

    Args:
        rows: One mapping for each line; in JSON they are printed whole.
        columns: Heading -> key, for people; a list is shown as its length, a number with thousands apart.
        as_json: Which of the two.
    """
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    from rich.console import Console  # noqa: PLC0415 - as long as all else that a command imports
    from rich.table import Table  # noqa: PLC0415

    table = Table()
    for heading, key in columns.items():
        numeric = any(isinstance(row[key], int) for row in rows)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[key]) for key in columns.values()))
    Console(file=sys.stdout, highlight=False, markup=False).print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return f"{value:,}"
    return str(len(value)) if isinstance(value, list) else printable(str(value))
