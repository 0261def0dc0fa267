"""Level 4 is measured where limits bite; take one of its walls away, and the level falls and the gate is named.

Walls up to level 3, and what a component takes from itself, are taken away in the red team's suite.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sealed_workshop import VEILBOX, RunVeilbox

from veilbox.core.isolation import Level

pytestmark = pytest.mark.sealed

VICTIM = "export"

# A runtime between veilbox and the real one, which takes a wall out of what is created.
THIEF = """\
#!{python}
import json, pathlib, subprocess, sys
arguments = sys.argv[1:]
bundle = next((pathlib.Path(arguments[i + 1]) for i, word in enumerate(arguments) if word == "--bundle"), None)
if bundle is not None and bundle.name == {victim!r}:
    file = bundle / "config.json"
    config = json.loads(file.read_text())
    {theft}
    file.write_text(json.dumps(config))
sys.exit(subprocess.run([{real!r}, *arguments]).returncode)
"""
_MAP_WHATEVER = (
    "limits = config['process']['rlimits']; "
    "limits[:] = [one for one in limits if one['type'] not in ('RLIMIT_DATA', 'RLIMIT_AS')]"
)
# Without a bound the gate's `found` has the words.
THEFTS = {
    "memory of the group": ("del config['linux']['resources']['memory']", "limits-bite", "looser than planned: memory"),
    "processes of the group": ("del config['linux']['resources']['pids']", "limits-bite", "1024 threads"),
    "share of the processors": ("del config['linux']['resources']['cpu']", "limits-bite", "looser than planned: cpu"),
    "memory that is mapped": (
        _MAP_WHATEVER,
        "limits-bite",
        "map allowed",
    ),
    "filter": ("del config['linux']['seccomp']", "seccomp-active", "1 filters"),
}


def _environment(folder: Path, theft: str) -> dict[str, str]:
    real = shutil.which("crun")
    if real is None:
        pytest.skip("needs crun")
    thief = folder / "bin" / "crun"
    thief.parent.mkdir()
    thief.write_text(THIEF.format(python=sys.executable, real=real, theft=theft, victim=VICTIM))
    thief.chmod(0o755)
    return dict(os.environ) | {"PATH": f"{thief.parent}:{os.environ['PATH']}"}


def _probed(environment: dict[str, str]) -> Any:
    command = [str(VEILBOX), "isolation", "probe", "--runtime", "crun", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("wall", THEFTS)
def test_without_the_wall_the_level_falls_and_names_it(sealed: None, tmp_path: Path, wall: str) -> None:
    del sealed
    theft, gate, words = THEFTS[wall]
    found = _probed(_environment(tmp_path, theft))
    levels = {name: (one["level"], one["failed"]) for name, one in found["components"].items()}
    assert levels.pop(VICTIM) == (Level.UNPRIVILEGED, gate)
    assert set(levels.values()) == {(Level.CONFINED, "own-kernel")}
    said = [one["happened"] for one in found["findings"] if one["component"] == VICTIM and one["id"] == gate]
    assert any(words in one for one in said), said


def test_a_job_that_demands_it_runs(veilbox: RunVeilbox, short_film: Path, tmp_path: Path) -> None:
    run = veilbox("anonymize", short_film, "-o", tmp_path / "out.mp4", "--isolation", "4", "--json")
    assert run.status == 0, run.stderr
    assert {one["isolation"]["level"] for one in run.json["components"].values()} == {Level.CONFINED}


def test_a_job_that_demands_it_is_refused_without_the_wall(sealed: None, short_film: Path, tmp_path: Path) -> None:
    del sealed
    environment = _environment(tmp_path, THEFTS["memory of the group"][0])
    command = [str(VEILBOX), "anonymize", str(short_film), "-o", str(tmp_path / "out.mp4"), "--isolation", "4"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120, text=True)
    assert done.returncode == 7, done.stderr
    assert "gate limits-bite did not hold" in done.stderr
    assert not (tmp_path / "out.mp4").exists()
