"""What a supervisor makes on this machine it clears away, however it is interrupted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from veilbox.core.digest import Digest
from veilbox.core.errors import Interrupted
from veilbox.oci.image.store import ImageStore
from veilbox.oci.runtime import cgroups
from veilbox.oci.runtime.cgroups import Layout, Place
from veilbox.oci.runtime.jobs import RunDirectory
from veilbox.orchestrate import machine

PLACE = Place(layout=Layout.ABSENT)
_IMAGE = SimpleNamespace(manifest=Digest.of(b"image"), layers=(Path(Digest.of(b"layer").hex),))


class _Launcher:
    def __init__(self, *_: object) -> None:
        pass

    def stop(self) -> None:
        """Nothing runs."""


@pytest.fixture
def _no_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "admit", lambda *_, **__: _IMAGE)
    monkeypatch.setattr(machine, "enter_private_namespaces", lambda: None)
    monkeypatch.setattr(machine, "discover", list)
    monkeypatch.setattr(machine, "choose", lambda *_, **__: None)
    monkeypatch.setattr(machine, "ContainerLauncher", _Launcher)
    monkeypatch.setattr(cgroups, "place", lambda: PLACE)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _no_containers: None) -> Path:
    """The folder of jobs of a machine without containers."""
    monkeypatch.setattr(RunDirectory, "here", lambda: RunDirectory(tmp_path / "run"))
    return tmp_path / "run" / "jobs"


@pytest.fixture
def _answered() -> Iterator[None]:
    """Signals are answered as the command line answers them: the first by an exception, the others not at all."""

    def answer(number: int, _: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Interrupted(f"signal {number}")

    before = signal.signal(signal.SIGTERM, answer)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_jobs_folder_knows_where_its_control_groups_are(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Place | None] = []
    open_job = RunDirectory.open_job

    def noting(self: RunDirectory, place: Place | None = None, **others: Any) -> Any:
        opened.append(place)
        return open_job(self, place, **others)

    monkeypatch.setattr(RunDirectory, "open_job", noting)
    with machine.engine(ImageStore(jobs.parents[1] / "store"), ["ingest"]):
        assert len(list(jobs.iterdir())) == 1
    assert opened == [PLACE]
    assert list(jobs.iterdir()) == []


@pytest.mark.usefixtures("_answered")
@pytest.mark.parametrize("place", ["choose", "discover"])
def test_a_signal_while_the_job_is_set_up(jobs: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(machine, place, lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted), machine.engine(ImageStore(jobs.parents[1] / "store"), ["ingest"]):
        pytest.fail("the signal was forgotten")
    assert list(jobs.iterdir()) == []


@pytest.mark.usefixtures("_answered")
@pytest.mark.parametrize("early", [True, False])
def test_a_signal_around_the_clearing_away(jobs: Path, monkeypatch: pytest.MonkeyPatch, early: bool) -> None:
    close = machine._close
    calls: list[ExitStack] = []

    def interrupted_close(stack: ExitStack) -> None:
        calls.append(stack)
        if early:
            os.kill(os.getpid(), signal.SIGTERM)
        close(stack)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(machine, "_close", interrupted_close)
    with pytest.raises(Interrupted), machine.engine(ImageStore(jobs.parents[1] / "store"), ["ingest"]):
        pass
    assert len(calls) == 2
    assert list(jobs.iterdir()) == []
