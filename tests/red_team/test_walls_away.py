"""Each wall is taken away from a component's container; the probe names the finding, and the level falls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from red_team_workshop import open_folder, require_runtime, run_program, runtimes
from wall_table import PAGE, rows
from walls_away import WALLS

from veilbox.core.isolation import DEEP, GATES, Level, guarded


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """By runtime, what is found where no wall is missing."""
    return {}


def _found(runtime: str, folder: Path, wall: str) -> Any:
    return run_program("walls_away.py", runtime, open_folder(folder), wall)


@pytest.mark.sealed
@pytest.mark.parametrize("wall", WALLS)
@pytest.mark.parametrize("runtime", runtimes())
def test_a_missing_wall_is_noticed_and_the_level_falls(
    sealed: None, tmp_path_factory: pytest.TempPathFactory, whole: dict[str, Any], runtime: str, wall: str
) -> None:
    del sealed
    require_runtime(runtime)
    if runtime not in whole:
        whole[runtime] = _found(runtime, tmp_path_factory.mktemp("whole"), "")
    before, found = whole[runtime], _found(runtime, tmp_path_factory.mktemp("layers"), wall)
    new = set(found["broken"]) - set(before["broken"])
    assert new >= WALLS[wall].notice
    capped = [level - 1 for name in new if (level := guarded(name)) is not None]
    assert found["level"] == min([before["level"], *capped])


def test_a_wall_without_a_finding_says_what_stands_instead() -> None:
    for name, wall in WALLS.items():
        assert bool(wall.notice) != bool(wall.instead), name
        assert wall.notice <= GATES.keys() | DEEP.keys(), name


def test_the_page_has_every_wall_and_its_findings() -> None:
    """Fresh by structure: `make wall-table` writes it anew."""
    told = rows(PAGE.read_text("utf-8"))
    assert [row.wall for row in told] == [*WALLS]
    for row in told:
        wall = WALLS[row.wall]
        assert row.what == wall.what
        assert set(row.findings) >= wall.notice
        assert set(row.findings) <= GATES.keys() | DEEP.keys()
        assert row.level <= min([Level.ATTESTED, *(level - 1 for one in row.findings if (level := guarded(one)))])
