"""A killed supervisor's job is removed by its monitor; a supervisor that ends takes its monitor along."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Opens a job under a monitor, says which two those are, and waits for a word.
_SUPERVISOR = """
import os, signal, sys, time
from pathlib import Path
from veilbox.oci.runtime.jobs import RunDirectory, new_job_id
from veilbox.oci.runtime.monitor import monitored

if "without stdin" in sys.argv:
    os.close(0)
run, job_id = RunDirectory(Path(sys.argv[1])), new_job_id()
with monitored(run, job_id, Path(sys.argv[2]).touch) as monitor:
    if "without stdin" in sys.argv:
        time.sleep(0.3)  # a monitor that believed us dead would find no job yet, and end
    job = run.open_job(job_id=job_id)
    if "child" in sys.argv and os.fork() == 0:  # as a runtime's launch, which holds the lock until its exec
        os.close(1)
        sys.stdin.read()
        os._exit(0)
    print(monitor, job.path, flush=True)
    signal.pause() if "without stdin" in sys.argv else sys.stdin.readline()
    job.close()
"""
# A bound on a hang, not on speed.
_BOUND_S = 30


@contextmanager
def _supervisor(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    line = [sys.executable, "-c", _SUPERVISOR, str(folder), str(folder.with_name("also")), *words]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            monitor, job = process.stdout.readline().split()
            yield process, os.pidfd_open(int(monitor)), Path(job)
        finally:
            process.kill()


def _ended(handle: int) -> bool:
    waiter = select.poll()
    waiter.register(handle, select.POLLIN)
    ended = bool(waiter.poll(_BOUND_S * 1000))
    os.close(handle)
    return ended


def _watches(handle: int) -> bool:
    """Whether a monitor still runs after the time in which it would have given up."""
    waiter = select.poll()
    waiter.register(handle, select.POLLIN)
    return waiter.poll(100) == []


def _held(pid: int) -> tuple[list[str], int]:
    """What a process has open as its standard input, output and error, and how much more."""
    open_files = list(Path(f"/proc/{pid}/fd").iterdir())
    standard = [str(entry.readlink()) for entry in open_files if entry.name in {"0", "1", "2"}]
    return standard, len(open_files) - len(standard)


def _still_there(path: Path) -> bool:
    end = time.monotonic() + _BOUND_S
    while path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return path.exists()


def test_the_job_of_a_killed_supervisor_is_removed(tmp_path: Path) -> None:
    with _supervisor(tmp_path / "run") as (process, monitor, job):
        assert job.is_dir()
        process.kill()
        assert _ended(monitor)
        assert not job.exists()
        assert (tmp_path / "also").exists()


def test_it_waits_for_a_child_that_still_holds_the_lock(tmp_path: Path) -> None:
    with _supervisor(tmp_path / "run", "child") as (process, monitor, job):
        process.kill()
        process.wait()
        assert _watches(monitor)
        assert job.is_dir()
        assert process.stdin is not None
        process.stdin.close()  # the child ends
        assert _ended(monitor)
        assert not _still_there(job)


def test_a_supervisor_without_standard_input_is_watched_too(tmp_path: Path) -> None:
    with _supervisor(tmp_path / "run", "without stdin") as (process, monitor, job):
        assert _watches(monitor)
        process.kill()
        assert _ended(monitor)
        assert not job.exists()


def test_the_monitor_ends_with_its_supervisor(tmp_path: Path) -> None:
    with _supervisor(tmp_path / "run") as (process, monitor, job):
        process.communicate("end\n", timeout=_BOUND_S)
        assert process.returncode == 0
        assert _ended(monitor)
        assert not job.exists()
        assert not (tmp_path / "also").exists()


def test_it_holds_nothing_of_its_supervisor_open(tmp_path: Path) -> None:
    with _supervisor(tmp_path / "run") as (process, monitor, _):
        pid = int(Path(f"/proc/self/fdinfo/{monitor}").read_text().split("Pid:")[1].split()[0])
        until = time.monotonic() + _BOUND_S
        while not (alone := _held(pid) == (["/dev/null"] * 3, 1)) and time.monotonic() < until:
            time.sleep(0.01)
        assert alone, _held(pid)  # of its own a handle of the supervisor
        process.kill()
        assert _ended(monitor)
