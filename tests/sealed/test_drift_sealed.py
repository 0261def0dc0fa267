"""`veilbox scan --live` beside a real job: nothing where the plan holds, the wall by name where somebody took it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sealed_workshop import VEILBOX, make_film

pytestmark = pytest.mark.sealed

COMPONENTS = {"ingest", "detect-centerface", "anonymize", "export", "verify", "second-centerface", "audit"}
BOUND_S = 60

# A runtime between veilbox and the real one, which takes a wall out of what is created and leaves the plan as it was.
THIEF = """\
#!{python}
import json, pathlib, subprocess, sys
arguments = sys.argv[1:]
bundle = next((pathlib.Path(arguments[i + 1]) for i, word in enumerate(arguments) if word == "--bundle"), None)
if bundle is None or bundle.name != "export":
    sys.exit(subprocess.run([{real!r}, *arguments]).returncode)
file = bundle / "config.json"
plan = file.read_text()
config = json.loads(plan)
{theft}
file.write_text(json.dumps(config))
status = subprocess.run([{real!r}, *arguments]).returncode
file.write_text(plan)
sys.exit(status)
"""
# What is taken, and the rules that must say so. Without no-new-privileges crun cannot start under so short a list of
# system calls, so that goes too; the component then sets the flag itself, as it does where no runtime has.
THEFTS = {
    "filter": ("del config['linux']['seccomp']", {"drift-seccomp"}),
    "calls of the filter": (
        "config['linux']['seccomp']['syscalls'][0]['names'] += ['ptrace', 'mount']",
        {"drift-seccomp"},
    ),
    "processor share": ("config['linux']['resources']['cpu']['quota'] *= 4", {"drift-limits"}),
    "no-new-privileges": (
        "config['process']['noNewPrivileges'] = False; del config['linux']['seccomp']",
        {"drift-seccomp"},
    ),
    "capabilities": ("config['process']['capabilities']['bounding'] = ['CAP_NET_RAW']", {"drift-capabilities"}),
    "read-only ring": ("config['mounts'][-1]['options'][-1] = 'rw'", {"drift-mounts"}),
    "process limits": ("config['process']['rlimits'] = []", {"drift-rlimits"}),
    "ipc namespace": ("del config['linux']['namespaces'][3]", {"drift-namespaces"}),
}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    make_film(path, frames=25)
    return path


@contextmanager
def running(film: Path, folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """A job that stands still while it is looked at: its supervisor is stopped once it has announced itself."""
    line = [str(VEILBOX), "anonymize", str(film), "-o", str(folder / "out.mp4"), "--quiet", "--deadline", "60"]
    process = subprocess.Popen(line, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _await_containers(process)
        process.send_signal(signal.SIGSTOP)
        yield str(process.pid)
        process.send_signal(signal.SIGCONT)
        said = process.communicate(timeout=BOUND_S)[1]
        assert process.returncode == 0, said
    finally:
        process.kill()
        process.wait()


def _await_containers(process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + BOUND_S
    while not _components(process.pid) >= COMPONENTS:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)


def _components(supervisor: int) -> set[str]:
    """Names of the supervisor's children that run a component's program already."""
    names = set()
    for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text("ascii").split():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_text("utf-8").split("\0")
            if "veilbox.components" in words:
                names.add(words[words.index("veilbox.components") + 1])
    return names


def live(environment: dict[str, str]) -> tuple[int, Any]:
    done = subprocess.run([VEILBOX, "scan", "--live", "--json"], env=environment, capture_output=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_job_as_planned_has_no_finding(sealed: None, film: Path, tmp_path: Path) -> None:
    del sealed
    with running(film, tmp_path, dict(os.environ)):
        status, found = live(dict(os.environ))
    assert found["findings"] == []
    assert found["unreadable"] == []
    assert found["workloads"] >= len(COMPONENTS)
    assert status == 0


@pytest.mark.parametrize("wall", THEFTS)
def test_a_wall_that_was_taken_is_named(sealed: None, wall: str, film: Path, tmp_path: Path) -> None:
    del sealed
    theft, rules = THEFTS[wall]
    real = shutil.which("crun")
    if real is None:
        pytest.skip("needs crun")
    thief = tmp_path / "bin" / "crun"
    thief.parent.mkdir()
    thief.write_text(THIEF.format(python=sys.executable, real=real, theft=theft))
    thief.chmod(0o755)
    environment = dict(os.environ) | {"PATH": f"{thief.parent}:{os.environ['PATH']}"}
    with running(film, tmp_path, environment):
        status, found = live(environment)
    assert {(one["rule"], one["subject"]) for one in found["findings"]} == {(rule, "Bundle/export") for rule in rules}
    assert status == 1
