"""A component that attacks memory, processes, disk, descriptors, logs or processors ends its job, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from red_team_workshop import HERE, open_folder, run_program

# Who attacks with what, which error ends the job, and words that its message has. A component that is silent is found
# by its own deadline or, where the others wait for it, by the pod's, whichever is looked at first.
ATTACKS = {
    "memory": ("ingest", "ComponentDied", "ingest: out of memory (expected at most 256 MiB)"),
    "threads": ("ingest", "ComponentHung", "ingest"),
    "files": ("ingest", "ComponentError", "ingest: internal error"),
    # The pages of a ring are its producer's memory.
    "ring": ("ingest", "ComponentDied", "ingest: out of memory (expected at most 256 MiB)"),
    "output": ("export", "ComponentError", "export: internal error"),
    "log": ("ingest", "ComponentHung", "ingest"),
    "messages": ("ingest", "ComponentHung", "no component made progress"),
    "processor": ("ingest", "ComponentHung", "ingest"),
}


@pytest.fixture
def folder(tmp_path: Path, short: Path) -> Path:
    (tmp_path / "film.mp4").symlink_to(short)
    (tmp_path / "out").mkdir()
    (tmp_path / "layers").mkdir()
    open_folder(tmp_path / "layers")
    return tmp_path


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    maker = (
        f"from sealed_workshop import make_film; from pathlib import Path; make_film(Path({str(path)!r}), frames=10)"
    )
    environment = os.environ | {"PYTHONPATH": f"{HERE.parent / 'sealed'}:{os.environ.get('PYTHONPATH', '')}"}
    subprocess.run([sys.executable, "-c", maker], check=True, env=environment, timeout=120)
    return path


@pytest.mark.sealed
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_ends_its_own_job_and_says_why(sealed: None, folder: Path, attack: str) -> None:
    del sealed
    component, kind, words = ATTACKS[attack]
    before = _free_bytes()
    ended: Any = run_program("exhaust.py", attack, component, folder)
    assert (ended["kind"], ended["left"]) == (kind, [])
    assert words in ended["said"]
    assert _free_bytes() > before // 2  # of the host's memory: nothing stays


@pytest.mark.sealed
def test_a_job_beside_an_attack_is_untouched(sealed: None, folder: Path) -> None:
    """While one job's ingest takes all the memory that it can get, the other one releases its output."""
    del sealed
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(HERE / "exhaust.py"), "memory", "ingest", str(folder)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE) as attacker:
        output = folder / "neighbour.mp4"
        veilbox = Path(sys.executable).with_name("veilbox")
        line = [str(veilbox), "anonymize", str(folder / "film.mp4"), "-o", str(output), "--quiet"]
        neighbour = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
        said = json.loads(attacker.communicate(timeout=120)[0])
    assert neighbour.returncode == 0, neighbour.stderr
    assert output.exists()
    assert "out of memory" in said["said"]


def _free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
