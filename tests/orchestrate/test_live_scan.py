"""The look at running containers: what the kernel says of a process, and which processes are looked at."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import pytest

from veilbox.oci.runtime.jobs import RunDirectory
from veilbox.orchestrate.live_scan import look, scan_live

TODAY = date(2026, 11, 24)


def test_a_look_at_this_process_sees_this_process() -> None:
    seen = look(os.getpid(), {})
    assert seen.unseen == {}
    assert set(seen.namespaces) == {"pid", "net", "mnt", "ipc", "uts", "user", "cgroup"}
    assert seen.elsewhere["net"]["this process"] == seen.namespaces["net"]
    assert seen.status["Uid"].split()[0] == str(os.getuid())
    assert seen.id_map[0][2] >= 1
    assert "/" in seen.mounts
    assert "lo" in seen.interfaces
    assert seen.limits["Max open files"] > 0
    assert seen.sources
    assert seen.words == tuple(Path("/proc/self/cmdline").read_text("utf-8").split("\0")[:-1])


def test_a_process_that_is_gone_is_unseen_and_not_clean(tmp_path: Path) -> None:
    seen = look(os.getpid(), {}, proc=tmp_path)
    assert {"namespaces", "status", "ids", "mounts", "interfaces", "limits", "command line"} <= set(seen.unseen)


def test_where_nothing_runs_nothing_is_found(tmp_path: Path) -> None:
    scanned = scan_live(RunDirectory(tmp_path / "run"), today=TODAY)
    assert (scanned.findings, scanned.unreadable, scanned.workloads) == ((), (), 0)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def _note(folder: Path, container_id: str) -> None:
    started = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()[19]
    state = folder / "runtime" / container_id
    state.mkdir(parents=True)
    (state / "status").write_text(json.dumps({"pid": os.getpid(), "process-start-time": int(started)}))


def test_only_jobs_of_living_supervisors_are_looked_at(run: RunDirectory) -> None:
    with run.open_job() as job:
        _note(job.path, job.container_id("ingest"))
        (resident,) = run.residents()
        assert (resident.job_id, resident.name, resident.pid) == (job.job_id, "ingest", os.getpid())
        assert resident.config == job.path / "bundles" / "ingest" / "config.json"
        (job.path / "runtime" / job.container_id("ingest") / "status").unlink()
    assert run.residents() == ()


def test_a_container_without_its_config_is_not_judged(run: RunDirectory) -> None:
    with run.open_job() as job:
        _note(job.path, job.container_id("ingest"))
        (unreadable,) = scan_live(run, today=TODAY).unreadable
        assert "ingest" in unreadable.reason
        (job.path / "runtime" / job.container_id("ingest") / "status").unlink()


CLONE = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
CRUN = {
    "linux": {
        "seccomp": {
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [CLONE]},
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO"},
            ]
        }
    }
}
RUNC = {
    "config": {
        "seccomp": {
            "syscalls": [
                {"name": "read", "action": 4, "args": []},
                {"name": "write", "action": 4, "args": None},
                {"name": "clone", "action": 4, "args": [{"index": 0, "value": 1, "op": 1}]},
                {"name": "clone3", "action": 2, "args": []},
            ]
        }
    }
}


@pytest.mark.parametrize(
    ("file", "kept", "allowed"),
    [
        ("config.json", CRUN, {"read": 0, "write": 0, "clone": 1}),
        ("config.json", {"linux": {}}, {}),
        ("state.json", RUNC, {"read": 0, "write": 0, "clone": 1}),
        ("state.json", {"config": {"seccomp": None}}, {}),
        ("other.json", {}, None),
    ],
)
def test_what_the_runtime_says_that_its_filter_allows(
    tmp_path: Path, file: str, kept: object, allowed: dict[str, int] | None
) -> None:
    (tmp_path / file).write_text(json.dumps(kept))
    seen = look(os.getpid(), {}, notes=tmp_path)
    assert seen.filter == allowed
    assert "the runtime's notes" not in seen.unseen


@pytest.mark.parametrize("kept", ["{", "[]", '{"config": {"seccomp": {"syscalls": [{}]}}}'])
def test_notes_that_cannot_be_read_are_unseen(tmp_path: Path, kept: str) -> None:
    (tmp_path / "state.json").write_text(kept)
    seen = look(os.getpid(), {}, notes=tmp_path)
    assert seen.filter is None
    assert "the runtime's notes" in seen.unseen
