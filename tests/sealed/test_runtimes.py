"""The whole main job under every runtime, and what a kernel of its own changes in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from leftovers import components
from sealed_workshop import VEILBOX, RunVeilbox

from veilbox.oci.runtime.driver import discover

pytestmark = pytest.mark.sealed

COMPONENTS = {"ingest", "detect-centerface", "anonymize", "export", "verify", "audit"}
_WAIT_S = 60.0


def _needed(runtime: str) -> None:
    fact = discover([runtime])[0]
    if not fact.usable:
        pytest.skip(f"{runtime} {fact.why}")
    if runtime == "runsc" and os.geteuid() != 0:
        pytest.skip("runsc needs root")


def _anonymized(veilbox: RunVeilbox, runtime: str, film: Path, folder: Path) -> Any:
    report = folder / f"{runtime}.json"
    run = veilbox(
        "anonymize", film, "-o", folder / f"{runtime}.mp4", "--runtime", runtime, "--report", report, timeout_s=300
    )
    assert run.status == 0, run.stderr
    return json.loads(report.read_text(encoding="utf-8"))


@pytest.mark.parametrize("runtime", ["crun", "runc", "runsc"])
def test_the_whole_job_runs_and_its_walls_are_measured(
    veilbox: RunVeilbox, runtime: str, short_film: Path, tmp_path: Path
) -> None:
    _needed(runtime)
    report = _anonymized(veilbox, runtime, short_film, tmp_path)
    assert report["runtime"].startswith(runtime)
    assert report["outputs"][0]["frames"] == 50
    assert report["counts"] == {"face": 1}
    assert set(report["components"]) >= COMPONENTS
    for component in report["components"].values():
        assert component["isolation"]["level"] == (5 if runtime == "runsc" else 4)
        held = [gate["held"] for gate in component["isolation"]["gates"] if gate["name"] == "own-kernel"]
        # From inside, and where there is a sandbox, from the host.
        assert held == ([True, True] if runtime == "runsc" else [False])
        # Times of another kernel's clock are brought to the supervisor's.
        assert all(0 <= value < 60_000 for value in component["startup_ms"].values())
    assert 0 < report["metrics"]["latency_ms"]["p50"] < 60_000


def test_a_level_that_asks_for_an_own_kernel_takes_one(veilbox: RunVeilbox, short_film: Path, tmp_path: Path) -> None:
    _needed("runsc")
    run = veilbox("anonymize", short_film, "-o", tmp_path / "sandboxed.mp4", "--isolation", "5", timeout_s=300)
    assert run.status == 0, run.stderr
    run = veilbox("anonymize", short_film, "-o", tmp_path / "out.mp4", "--isolation", "5", "--runtime", "crun")
    assert run.status == 7
    assert not (tmp_path / "out.mp4").exists()


def test_sealed_processes_do_the_whole_job_and_say_how_weak_they_are(
    veilbox: RunVeilbox, short_film: Path, tmp_path: Path, nothing_left: None
) -> None:
    del nothing_left
    _needed("process")
    report = _anonymized(veilbox, "process", short_film, tmp_path)
    assert report["runtime"].startswith("process Landlock")
    assert report["warnings"] == ["sealed-processes"]
    assert report["outputs"][0]["frames"] == 50
    assert report["counts"] == {"face": 1}
    assert set(report["components"]) >= COMPONENTS
    for component in report["components"].values():
        assert component["isolation"]["level"] == 2, component["isolation"]["failed"]
        assert component["isolation"]["failed"] == "uid-range-own"


def test_a_level_beyond_sealed_processes_refuses_the_job(veilbox: RunVeilbox, short_film: Path, tmp_path: Path) -> None:
    _needed("process")
    output = tmp_path / "out.mp4"
    run = veilbox("anonymize", short_film, "-o", output, "--isolation", "3", "--runtime", "process")
    assert run.status == 7
    assert "uid-range-own did not hold" in run.stderr
    assert "expected isolation level 3, got 2" in run.stderr
    assert not output.exists()


def test_a_killed_supervisor_takes_its_sealed_processes_along(
    sealed: None, demo_film: tuple[Path, Path], tmp_path: Path
) -> None:
    del sealed
    _needed("process")
    before = frozenset(components())
    command: list[str | Path] = [VEILBOX, "anonymize", demo_film[0], "-o", tmp_path / "out.mp4", "--runtime", "process"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as supervisor:
        _until(lambda: set(components(supervisor.pid).values()) >= COMPONENTS)
        mine = frozenset(components(supervisor.pid)) - before
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait()
    _until(lambda: not mine & frozenset(components()))
    assert list(tmp_path.iterdir()) == []


def test_a_killed_supervisor_takes_its_sandboxes_along(
    sealed: None, demo_film: tuple[Path, Path], tmp_path: Path
) -> None:
    del sealed
    _needed("runsc")
    before = _sandboxes()
    command: list[str | Path] = [VEILBOX, "anonymize", demo_film[0], "-o", tmp_path / "out.mp4", "--runtime", "runsc"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as supervisor:
        _until(lambda: len(_sandboxes() - before) >= len(COMPONENTS))
        mine = _sandboxes() - before
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait()
    _until(lambda: not mine & _sandboxes())
    assert list(tmp_path.iterdir()) == []


def _sandboxes() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] in {b"runsc-sandbox", b"runsc-gofer"}:
            found.add(path.parent.name)
    return found


def _until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + _WAIT_S
    while not met():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.05)
