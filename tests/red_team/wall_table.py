"""Writes docs/reference/walls.md: for each wall that is taken away, what notices it and which level is left.

    wall_table.py

Runs on every runtime that this machine has; takes a few seconds for each wall.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from red_team_workshop import run_program
from walls_away import NOTHING, WALLS, Wall

from veilbox.oci.runtime.dialect import KNOWN
from veilbox.oci.runtime.driver import discover

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "walls.md"
_HEAD = """# Walls, and what notices that one is missing

Written by `make wall-table` from a run on {runtimes}. Each row: one wall is taken out of the configuration of a
component's container (`tests/red_team/walls_away.py`), the pod starts, the component and the host look as
`veilbox isolation probe` does. With every wall the level is {level}. Findings and levels: [Gates](gates.md).
Where a missing wall is not noticed another one stands in its place, and the row says which. Shown on every
runtime by `tests/red_team/test_walls_away.py::test_a_missing_wall_is_noticed_and_the_level_falls`.

| Missing | That is | Noticed by | Level |
|---|---|---|---|
"""
_INSTEAD = "nothing: "


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    wall: str
    what: str
    findings: tuple[str, ...]
    level: int


def rows(page: str) -> list[Row]:
    """The table's lines."""
    found = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[3].isdecimal():
            names = () if cells[2].startswith(_INSTEAD) else tuple(name.strip("` ") for name in cells[2].split(","))
            found.append(Row(wall=cells[0], what=cells[1], findings=names, level=int(cells[3])))
    return found


def line(name: str, wall: Wall, whole: Mapping[str, Any], found: Iterable[Mapping[str, Any]]) -> str:
    """One line of the table: what every runtime found, and the highest level that any left.

    Args:
        name: The wall's.
        wall: It.
        whole: What is found where no wall is missing.
        found: What each runtime found without it.
    """
    reports = list(found)
    common = sorted(set.intersection(*(set(one["broken"]) for one in reports)) - set(whole["broken"]))
    noticed = ", ".join(f"`{one}`" for one in common) or f"{_INSTEAD}{wall.instead}"
    return f"| {name} | {wall.what} | {noticed} | {max(one['level'] for one in reports)} |"


def _found(runtime: str) -> dict[str, Any]:
    """What is found on a runtime, by the wall that is missing."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        reports: dict[str, Any] = run_program("walls_away.py", runtime, folder, NOTHING, *WALLS)
        return reports


def main() -> None:
    """Write the page."""
    found = {fact.name: _found(fact.name) for fact in discover(KNOWN) if fact.usable}
    whole = next(iter(found.values()))[NOTHING]
    lines = [line(name, wall, whole, [one[name] for one in found.values()]) for name, wall in WALLS.items()]
    text = _HEAD.format(runtimes=" and ".join(found), level=whole["level"])
    PAGE.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
