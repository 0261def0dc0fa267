"""Starts the suite's programs, each in a process of its own, on the runtimes that this machine has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from veilbox.oci.runtime.dialect import KNOWN
from veilbox.oci.runtime.driver import discover

HERE = Path(__file__).parent
# A bound on a hang, not on speed: some programs start thirty pods.
_PATIENCE_S = 900


def require_runtime(name: str) -> None:
    """Skip where a runtime is not installed or too old; CI promises all of them."""
    fact = discover([name])[0]
    if not fact.usable:
        pytest.skip(f"{name} {fact.why}")


def runtimes() -> tuple[str, ...]:
    """Every runtime that veilbox can take, by its program's name."""
    return tuple(KNOWN)


def run_program(name: str, *arguments: str | Path) -> Any:
    """Run one of the folder's programs and read the JSON that it prints."""
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, HERE / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def make_short_film(path: Path) -> None:
    """A second of a face, as the sealed tests make it; in a process of its own, whose encoder it is."""
    code = f"from pathlib import Path; from sealed_workshop import make_film; make_film(Path({str(path)!r}), frames=25)"
    folders = os.pathsep.join([str(HERE.parent / "sealed"), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": folders})


def open_folder(folder: Path) -> Path:
    """A folder whose layers a container's root, which is another user, can search."""
    for one in (folder, folder.parent, folder.parent.parent):
        one.chmod(0o711)
    return folder
