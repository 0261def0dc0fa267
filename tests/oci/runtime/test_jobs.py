"""Job folders, locks, and what the sweep does after a supervisor was killed; as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rig import SECCOMP

from veilbox.core.errors import MachineError
from veilbox.oci.runtime import jobs
from veilbox.oci.runtime.cgroups import Layout, Place
from veilbox.oci.runtime.driver import discover
from veilbox.oci.runtime.jobs import RunDirectory

PROGRAM = Path(__file__).with_name("whole_job.py")
SOURCE = Path(__file__).parents[3] / "src"
TIMEOUT_S = 60


def test_two_jobs_share_nothing(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with run.open_job() as first, run.open_job() as second:
        assert first.job_id != second.job_id
        assert first.container_id("ingest") != second.container_id("ingest")
        assert not first.path.is_relative_to(second.path)
    assert list((tmp_path / "run/jobs").iterdir()) == []


def test_folders_let_others_pass_but_not_look(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        with RunDirectory(tmp_path / "run").open_job() as job:
            point = job.mount_point("raw")
            while point != tmp_path:
                assert point.stat().st_mode & 0o777 == 0o711, point
                point = point.parent
    finally:
        os.umask(old)


def test_the_sweep_spares_the_living(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with run.open_job() as job:
        assert run.sweep() == ()
        assert job.path.exists()


def test_the_sweep_takes_the_dead(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    (tmp_path / "memory").mkdir()
    job = run.open_job(
        Place(layout=Layout.V1, controllers={"memory": tmp_path / "memory"}, folders=(tmp_path / "memory",))
    )
    (tmp_path / "memory" / f"veilbox-{job.job_id}" / "ingest").mkdir(parents=True)
    job.bundle("ingest")
    os.close(job._lock)  # what the kernel does when a supervisor dies
    assert run.sweep() == (job.job_id,)
    assert list((tmp_path / "memory").iterdir()) == []
    assert not job.path.exists()


def test_a_folder_without_a_lock_was_left_half_made(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    (tmp_path / "run/jobs/0badcafe").mkdir()
    assert run.sweep() == ("0badcafe",)


def test_a_sweep_puts_nothing_into_a_folder_that_its_supervisor_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock made anew in a folder whose lock had just gone failed the supervisor's removal."""
    run = RunDirectory(tmp_path / "run")
    job = run.open_job()
    job.bundle("ingest")
    unlink = os.unlink

    def unlink_and_sweep(path: str | Path, *, dir_fd: int | None = None) -> None:
        unlink(path, dir_fd=dir_fd)
        if Path(path).name == "lock":
            monkeypatch.undo()  # it happens once
            with monkeypatch.context() as patch, suppress(MachineError):
                patch.setattr(jobs, "_end_containers", _slower_than_the_supervisor)
                run.sweep()

    monkeypatch.setattr(os, "unlink", unlink_and_sweep)
    job.close()
    assert not job.path.exists()


def _slower_than_the_supervisor(path: Path) -> None:
    raise MachineError("the supervisor goes on before this sweep does", where=str(path))


def test_a_removal_that_is_cut_off_anywhere_is_taken_up_by_the_next_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path / "run")
    for calls in range(100):
        job = run.open_job()
        job.bundle("ingest")
        job.mount_point("clean")
        left = iter(range(calls))
        with monkeypatch.context() as patch:
            for name in ("unlink", "rmdir"):
                patch.setattr(os, name, _cut_off(getattr(os, name), left))
            with suppress(KeyboardInterrupt):
                job.close()
        if not job.path.exists():
            break
        assert run.sweep() == (job.job_id,)
        assert not job.path.exists()
    assert calls > len(("bundles/ingest", "bundles", "mounts/clean", "mounts", "cgroups.json", "lock"))


def _cut_off(call: Callable[..., None], left: Iterator[int]) -> Callable[..., None]:
    """The same call, until no more are left: then it is as if the program were killed."""

    def cut_off(*given: object, **named: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        call(*given, **named)

    return cut_off


def test_a_strangers_process_is_not_taken_for_a_containers(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    job = run.open_job()
    stranger = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        for note, words in (("status", ("pid", "process-start-time")), ("state.json", ("init_process_pid",) * 2)):
            folder = job.runtime_root / note
            folder.mkdir(parents=True)
            (folder / note).write_text(json.dumps({words[0]: stranger.pid, words[1]: 1}))
        (job.runtime_root / "broken").mkdir()
        (job.runtime_root / "broken" / "status").write_text("[")
        os.close(job._lock)
        assert run.sweep() == (job.job_id,)
        assert stranger.poll() is None
    finally:
        stranger.communicate()


def test_cgroups_of_another_name_are_not_removed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    job = run.open_job()
    (tmp_path / "precious").mkdir()
    (job.path / "cgroups.json").write_text(json.dumps([str(tmp_path / "precious")]))
    os.close(job._lock)
    run.sweep()
    assert (tmp_path / "precious").exists()


def test_a_run_directory_that_is_a_link_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(MachineError, match="run directory"):
            RunDirectory(tmp_path / name)


@dataclass(frozen=True)
class User:
    """Who runs the whole job, and with which interpreter."""

    name: str
    uid: int
    gid: int
    python: str

    def spawn(self, mode: str, runtime: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.python, str(PROGRAM), mode, runtime, json.dumps(SECCOMP)],
            stdout=subprocess.PIPE,
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            cwd="/",
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "PYTHONPATH": str(SOURCE),
                "LC_ALL": "C.UTF-8",
            },
        )


def _user(kind: str) -> User:
    if os.geteuid() != 0:
        pytest.skip("needs root to act as every user")
    if kind == "root":
        return User("root", 0, 0, sys.executable)
    if shutil.which("newuidmap") is None:
        pytest.skip("uidmap is not installed")
    for line in Path("/etc/subuid").read_text().splitlines() if Path("/etc/subuid").exists() else ():
        name = line.split(":")[0]
        if name and not name.isdecimal() and name != "root":
            entry = pwd.getpwnam(name)
            return User(name, entry.pw_uid, entry.pw_gid, _python_for(entry.pw_uid, entry.pw_gid))
    pytest.skip("no ordinary user has subordinate ids")


def _python_for(uid: int, gid: int) -> str:
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r}); assert sys.version_info >= (3, 11); import veilbox.core.plan"
    )
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            if subprocess.run([python, "-c", code], user=uid, group=gid, extra_groups=[], check=False).returncode == 0:
                return python
        except OSError:
            continue
    pytest.skip("no Python of 3.11 or later that an ordinary user may run")


def _runtime(name: str) -> str:
    if not discover([name])[0].usable:
        pytest.skip(f"{name} is not usable")
    return name


def _answer(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert child.stdout is not None
    answer: dict[str, Any] = json.loads(child.stdout.readline())
    return answer


def _left(answer: dict[str, Any]) -> list[str]:
    """Everything of a job that can still be found."""
    found = [path for path in (answer["path"], *answer["cgroups"]) if Path(path).exists()]
    return found + [str(path) for path in Path("/proc").glob("[0-9]*/cmdline") if answer["job"] in _text(path)]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


@pytest.mark.sealed
@pytest.mark.parametrize("runtime", ["crun", "runc"])
@pytest.mark.parametrize("kind", ["root", "ordinary"])
def test_a_whole_job_leaves_nothing(kind: str, runtime: str) -> None:
    user = _user(kind)
    with user.spawn("finish", _runtime(runtime)) as child:
        answer = _answer(child)
        out, _ = child.communicate(timeout=TIMEOUT_S)
    lines = answer["text"].splitlines()
    assert child.returncode == 0
    assert json.loads(out)["status"] == 137
    assert {"volume", "closed", "sealed"} <= set(lines)
    assert any(line.split() == ["Uid:", *["65532"] * 4] for line in lines)
    assert "CapEff:\t0000000000000000" in lines
    assert "Seccomp:\t2" in lines
    assert "127.0.0.1" not in answer["text"]
    assert _left(answer) == []
    assert not any(answer["job"] in line for line in Path("/proc/self/mountinfo").read_text().splitlines())


@pytest.mark.sealed
@pytest.mark.parametrize("runtime", ["crun", "runc"])
@pytest.mark.parametrize("kind", ["root", "ordinary"])
def test_what_a_killed_supervisor_left_is_swept_by_the_next(kind: str, runtime: str) -> None:
    user = _user(kind)
    with user.spawn("hang", _runtime(runtime)) as first:
        dead = _answer(first)
        first.send_signal(signal.SIGKILL)
    assert Path(dead["path"]).exists()
    with user.spawn("finish", runtime) as second:
        alive = _answer(second)
        second.communicate(timeout=TIMEOUT_S)
    assert dead["job"] in alive["swept"]
    assert _left(dead) == []
    assert _left(alive) == []
