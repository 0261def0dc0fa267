"""Each wall is taken away from a component's container; the probe names the finding, and the level falls."""

from __future__ import annotations

from typing import Any

import pytest
from red_team_workshop import open_folder, require_runtime, run_program, runtimes
from wall_table import PAGE, rows
from walls_away import NOTHING, WALLS

from veilbox.core.isolation import DEEP, GATES, Level, guarded


@pytest.fixture(scope="module", params=runtimes())
def found(request: pytest.FixtureRequest, sealed: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is found on a runtime, by the wall that is missing."""
    del sealed
    require_runtime(request.param)
    folder = open_folder(tmp_path_factory.mktemp("layers"))
    reports: dict[str, Any] = run_program("walls_away.py", request.param, folder, NOTHING, *WALLS)
    return reports


@pytest.mark.sealed
@pytest.mark.parametrize("wall", WALLS)
def test_a_missing_wall_is_noticed_and_the_level_falls(found: dict[str, Any], wall: str) -> None:
    before, after = found[NOTHING], found[wall]
    new = set(after["broken"]) - set(before["broken"])
    assert new >= WALLS[wall].notice
    capped = [level - 1 for name in new if (level := guarded(name)) is not None]
    assert after["level"] == min([before["level"], *capped])


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
