"""Nothing survives a kill: no output, no process, no control group, no mount, no folder.

At drawn moments of a job a drawn component, or the supervisor, is killed or stopped. `VEILBOX_KILLS` says how often
a component is hit (30), `VEILBOX_SEED` repeats a run; the supervisor is hit in proportion.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import pytest
from leftovers import Leftovers, components, monitors
from PIL import Image
from sealed_workshop import VEILBOX, RunVeilbox, make_film

pytestmark = pytest.mark.sealed

NAMES = ("ingest", "detect-centerface", "anonymize", "export", "verify", "second-centerface", "audit")
KILLS = int(os.environ.get("VEILBOX_KILLS", "30"))
SEED = os.environ.get("VEILBOX_SEED", str(random.SystemRandom().randrange(10**6)))
FRAMES = 50
DEADLINE_S = 2
# Jobs that are hit side by side: one that was stopped while it started is waited for ten seconds, doing nothing.
AT_ONCE = 5
# A bound on a hang, not on speed: the allowance of a start-up is 10 s, the machine may be shared.
BOUND_S = 60
# So often a draw may fall after the job's end before a run counts as unable to hit.
REDRAWS = 10


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "short.mp4"
    make_film(path, frames=FRAMES)
    return path


@dataclass
class Job:
    """One running job."""

    process: subprocess.Popen[str]
    output: Path

    def wait(self, seconds: float) -> bool:
        """Whether it ended within so many seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait_for(self, happened: Callable[[], bool]) -> bool:
        """Whether something happened before the job ended."""
        end = time.monotonic() + BOUND_S
        while not happened():
            if self.wait(0.005):
                return False
            assert time.monotonic() < end
        return True

    def end(self) -> tuple[int, str]:
        """Its exit status and what it said, within the bound."""
        said = self.process.communicate(timeout=BOUND_S)[1]
        return self.process.returncode, said

    @property
    def complete(self) -> bool:
        """Whether the output is there, which it may be only as a whole."""
        names = [path.name for path in self.output.parent.iterdir()]
        if not names:
            return False
        assert names == [self.output.name]
        assert _frames(self.output) == FRAMES
        return True


def _frames(path: Path) -> int:
    """How many frames a film has, by decoding every one."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@contextmanager
def job(film: Path, folder: Path, command: str = "anonymize") -> Iterator[Job]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    output = folder / "out.mp4"
    results = ["-o", str(output)] if command == "anonymize" else []
    line = [str(VEILBOX), command, str(film), *results, "--quiet", "--deadline", str(DEADLINE_S)]
    process = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield Job(process, output)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def duration_s(sealed: None, film: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long the job takes when nobody disturbs it, so that moments can be drawn over all of it."""
    del sealed
    before = time.monotonic()
    with job(film, tmp_path_factory.mktemp("first") / "out") as undisturbed:
        status, said = undisturbed.end()
        assert (status, undisturbed.complete) == (0, True), said
    return time.monotonic() - before


def draws(number: int) -> list[random.Random]:
    return [random.Random(f"{SEED}-{index}") for index in range(number)]  # noqa: S311 - chance, not a secret


def tell(draw: str) -> None:
    """Printed with a failure, so that it can be repeated."""
    sys.stdout.write(f"VEILBOX_SEED={SEED}: {draw}\n")


def send(pid: int, name: str, number: int) -> bool:
    """Signal a component unless it has ended; a handle keeps the number from being mistaken for a later process's."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if components().get(pid) != name:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def strike(job: Job, name: str, number: int) -> bool:
    """Wait until the component runs and signal it; False if the job ended before."""
    found: list[int] = []

    def runs() -> bool:
        found[:] = [pid for pid, one in components(job.process.pid).items() if one == name]
        return bool(found)

    return job.wait_for(runs) and send(found[0], name, number)


@pytest.mark.parametrize("first", range(0, KILLS, AT_ONCE))
def test_a_component_that_dies_or_stops_ends_the_job(first: int, film: Path, duration_s: float, tmp_path: Path) -> None:
    before = Leftovers.here()
    indices = range(first, min(first + AT_ONCE, KILLS))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        hits = [pool.submit(_hit, draws(KILLS)[index], film, duration_s, tmp_path / str(index)) for index in indices]
    for hit in hits:
        hit.result()
    assert Leftovers.here() - before == []


def _hit(draw: random.Random, film: Path, span_s: float, folder: Path) -> None:
    """Hit a component of a job until one is hit before the job's end, and hear of it."""
    for _ in range(REDRAWS):
        name, number = draw.choice(NAMES), draw.choice((signal.SIGKILL, signal.SIGSTOP))
        moment = draw.uniform(0, span_s)
        tell(f"{number.name} to {name} after {moment:.3f} s")
        with job(film, folder) as running:
            hit = not running.wait(moment) and strike(running, name, number)
            status, said = running.end()
            too_late = running.complete
        if too_late:
            assert status == 0, said
            span_s = moment  # the machine is faster now than when the job was measured
            continue
        assert hit, said
        assert status == 8, said
        assert said.startswith(f"veilbox: {name}: "), said
        assert said.count("\n") == 1, said
        return
    pytest.fail("no draw hit the job before its end")


def _listens(process: subprocess.Popen[str], number: int) -> Callable[[], bool]:
    """Whether the program has begun to catch a signal; before, the interpreter's own answer ends it, and nothing is."""

    def listens() -> bool:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            return False
        masks = dict(line.split(":\t", 1) for line in lines if line.startswith("Sig"))
        caught = bool(int(masks["SigCgt"], 16) >> (number - 1) & 1)
        return caught and (number != signal.SIGINT or bool(int(masks["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1))

    return listens


@pytest.mark.parametrize("index", range(max(4, KILLS // 3)))
def test_an_interrupted_supervisor_leaves_in_order(index: int, film: Path, duration_s: float, tmp_path: Path) -> None:
    draw = draws(KILLS)[index]
    before = Leftovers.here()
    span_s = duration_s
    for _ in range(REDRAWS):
        number, moment = (signal.SIGINT, signal.SIGTERM)[index % 2], draw.uniform(0, span_s)
        tell(f"{number.name} after {moment:.3f} s")
        with job(film, tmp_path / "out") as running:
            if not running.wait(moment) and running.wait_for(_listens(running.process, number)):
                running.process.send_signal(number)
            status, said = running.end()
            too_late = running.complete
        assert Leftovers.here() - before == []
        if too_late:
            assert status in {0, 130}, said
            span_s = moment
            continue
        assert status == 130, said
        assert said.startswith(f"veilbox: interrupted by {number.name}"), said
        assert said.count("\n") == 1, said
        return
    pytest.fail("no draw hit the job before its end")


def _ended(handles: list[int]) -> bool:
    """Whether every process behind a handle ended, within the bound."""
    end = time.monotonic() + BOUND_S
    for handle in handles:
        waiter = select.poll()
        waiter.register(handle, select.POLLIN)
        if not waiter.poll(max(0, end - time.monotonic()) * 1000):
            return False
        os.close(handle)
    return True


@pytest.mark.parametrize("index", range(max(3, KILLS // 5)))
def test_a_killed_supervisor_takes_its_components_along(
    index: int, film: Path, duration_s: float, tmp_path: Path
) -> None:
    draw = draws(KILLS)[index]
    before = Leftovers.here()
    moment, stopped = draw.uniform(0, duration_s), draw.choice((None, *NAMES))
    tell(f"SIGKILL after {moment:.3f} s, with {stopped} stopped")
    with job(film, tmp_path / "out") as running:
        handles = [] if running.wait(moment) else _stop_and_kill(running, stopped)
        assert _ended(handles)
        running.end()
        assert running.complete in {True, False}  # whole or not at all, never a part
    assert _gone_since(before) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_component_stopped_at_its_first_instruction_dies_too(
    name: str, film: Path, duration_s: float, tmp_path: Path
) -> None:
    del duration_s
    before = Leftovers.here()
    with job(film, tmp_path / "out") as running:
        assert strike(running, name, signal.SIGSTOP)  # as soon as it is seen: it still imports
        running.process.kill()
        running.end()
        assert not running.complete
    assert _gone_since(before) == []


def test_if_the_monitor_is_killed_too_the_next_start_sweeps(
    film: Path, duration_s: float, tmp_path: Path, veilbox: RunVeilbox
) -> None:
    del duration_s
    before = Leftovers.here()
    with job(film, tmp_path / "out") as running:
        assert strike(running, "export", signal.SIGSTOP)
        for pid in monitors(running.process.pid):
            os.kill(pid, signal.SIGKILL)
        running.process.kill()
        running.end()
    assert Leftovers.here() - before != []
    _next_start(tmp_path, veilbox)
    assert Leftovers.here() - before == []


def _stop_and_kill(running: Job, stopped: str | None) -> list[int]:
    """Kill the supervisor; even a component that cannot run dies with it.

    Returns:
        A handle of each component.
    """
    mine = components(running.process.pid)
    handles = [os.pidfd_open(pid) for pid in mine]
    for pid, name in mine.items():
        if name == stopped:
            send(pid, name, signal.SIGSTOP)
    running.process.kill()
    return handles


def _gone_since(before: Leftovers) -> list[str]:
    """What is still here although nobody started veilbox again, within the bound."""
    end = time.monotonic() + BOUND_S
    while (left := Leftovers.here() - before) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def _next_start(folder: Path, veilbox: RunVeilbox) -> None:
    Image.new("RGB", (64, 48), "grey").save(folder / "any.png")
    finished = veilbox("anonymize", folder / "any.png", "-o", folder / "any-out.png")
    assert finished.status == 0, finished.stderr


@pytest.mark.parametrize("index", range(max(2, KILLS // 10)))
def test_a_stopped_supervisor_goes_on_or_fails_closed(
    index: int, film: Path, duration_s: float, tmp_path: Path
) -> None:
    draw = draws(KILLS)[index]
    before = Leftovers.here()
    moment, pause = draw.uniform(0, duration_s), draw.uniform(0, 2 * DEADLINE_S)
    tell(f"SIGSTOP after {moment:.3f} s for {pause:.3f} s")
    with job(film, tmp_path / "out") as running:
        if not running.wait(moment):
            running.process.send_signal(signal.SIGSTOP)
            running.wait(pause)
            running.process.send_signal(signal.SIGCONT)
        status, said = running.end()
        assert status == (0 if running.complete else 8), said
    assert Leftovers.here() - before == []


@pytest.mark.parametrize("index", range(max(2, KILLS // 10)))
def test_detecting_alone_ends_in_the_same_way(index: int, film: Path, duration_s: float, tmp_path: Path) -> None:
    draw = draws(KILLS)[index]
    before = Leftovers.here()
    span_s = duration_s / 2
    for _ in range(REDRAWS):
        name, number = draw.choice(NAMES[:2]), draw.choice((signal.SIGKILL, signal.SIGSTOP))
        moment = draw.uniform(0, span_s)
        tell(f"{number.name} to {name} of `detect` after {moment:.3f} s")
        with job(film, tmp_path / "out", "detect") as running:
            hit = not running.wait(moment) and strike(running, name, number)
            status, said = running.end()
        assert Leftovers.here() - before == []
        if status == 0:
            span_s = moment
            continue
        assert (hit, status) == (True, 8), said
        assert said.startswith(f"veilbox: {name}: "), said
        return
    pytest.fail("no draw hit the job before its end")
