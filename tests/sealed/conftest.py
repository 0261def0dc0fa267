"""Fixtures of the sealed tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from leftovers import Leftovers
from sealed_workshop import VEILBOX, Run, RunVeilbox, make_film


@pytest.fixture(scope="session")
def veilbox(sealed: None) -> RunVeilbox:
    """Run the installed program to its end."""
    del sealed

    def run(*arguments: str | Path | bytes, timeout_s: float = 120) -> Run:
        finished = subprocess.run(
            [os.fsencode(VEILBOX), *(os.fsencode(argument) for argument in arguments)],
            capture_output=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Run(
            status=finished.returncode,
            stdout=finished.stdout.decode("utf-8", "replace"),
            stderr=finished.stderr.decode("utf-8", "replace"),
        )

    return run


@pytest.fixture(scope="session")
def short_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the astronaut's portrait moving over grey, 640x360, 25 fps, H.264."""
    path = tmp_path_factory.mktemp("film") / "short.mp4"
    make_film(path, frames=50)
    return path


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fail if a test leaves a process, control group, mount or run folder behind."""
    before = Leftovers.here()
    yield
    assert Leftovers.here() - before == []
