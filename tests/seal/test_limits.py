"""Bounds, tried: by a process on itself, and by the host in a control group made for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from veilbox.core.isolation import Gate
from veilbox.seal import trial_group
from veilbox.seal.limits import limits_bite
from veilbox.seal.trial_group import Bites, Trial, bounds

ALL_BITE = Bites(memory=True, pids=True, cpu=True)
PLAN = {"memory_bytes": 64 << 20, "pids": 8}


def tried(setting: str) -> str:
    """What a process finds that has bounds of its own, and nothing that it could raise its share with."""
    script = f"""
import os, resource
from veilbox.seal.limits import limits_bite
for name in ("RTPRIO", "NICE"):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (0, 0))
{setting}
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
gate = limits_bite()
print(gate.held, gate.found)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


_MEMORY = "resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))\n"
_THREADS = "resource.setrlimit(resource.RLIMIT_NPROC, (40, 40))\n"


class TestFromInside:
    def test_a_bare_process_has_none(self) -> None:
        gate = limits_bite()
        assert not gate.held
        assert "map allowed" in gate.found

    def test_with_both_it_holds(self) -> None:
        # A bound of processes is the user's, so as whoever else this user runs: nobody runs little.
        assert tried(_MEMORY + _THREADS).startswith("True map ENOMEM")

    @pytest.mark.parametrize(
        ("setting", "found"), [(_THREADS, "map allowed"), (_MEMORY, "1024 threads")], ids=["memory", "threads"]
    )
    def test_without_one_it_fails_and_names_it(self, setting: str, found: str) -> None:
        said = tried(setting)
        assert said.startswith("False")
        assert found in said

    def test_no_thread_is_left(self) -> None:
        before = len([*Path("/proc/self/task").iterdir()])
        limits_bite()
        assert len([*Path("/proc/self/task").iterdir()]) == before


@pytest.fixture
def folders() -> Iterator[dict[str, Path]]:
    """Where a group may be made on this machine; it is gone afterwards."""
    root = Path("/sys/fs/cgroup")
    bases = {name: root / name for name in ("memory", "pids", "cpu")}
    if not all(os.access(base / "cgroup.procs", os.W_OK) for base in bases.values()):
        pytest.skip("no control groups of version 1 that may be written")
    group = f"veilbox-test-{os.getpid()}"
    yield {name: base / group for name, base in bases.items()}
    assert not [base / group for base in bases.values() if (base / group).exists()]


class TestTrial:
    def test_each_bound_bites_and_nothing_is_left(self, folders: dict[str, Path]) -> None:
        trial = Trial(folders)
        trial.start()
        assert trial.outcome() == ALL_BITE
        trial.close()

    @pytest.mark.parametrize("name", ["memory", "pids", "cpu"])
    def test_a_bound_that_is_not_set_does_not_bite(
        self, folders: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trial_group, "_V1", {**trial_group._V1, name: {}})
        trial = Trial(folders)
        trial.start()
        found = trial.outcome()
        assert {word for word in ("memory", "pids", "cpu") if not getattr(found, word)} == {name}

    def test_one_that_nobody_asks_is_ended(self, folders: dict[str, Path]) -> None:
        trial = Trial(folders)
        trial.start()
        trial.close()
        assert not trial.outcome().reason.startswith("no control")

    def test_without_groups_it_says_so(self) -> None:
        trial = Trial({})
        trial.start()
        assert trial.outcome() == Bites(reason="no control groups")
        trial.close()


def tree(folder: Path, *, v2: bool, cpu: str, memory: str = str(64 << 20), pids: str = "8") -> dict[str, Path]:
    """A group's files, as the kernel shows them."""
    files = {"memory.max": memory, "pids.max": pids, "cpu.max": cpu, "cgroup.controllers": "cpu memory pids"}
    if not v2:
        quota, period = cpu.split()
        files = {"memory.limit_in_bytes": memory, "pids.max": pids}
        files |= {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": period}
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")
    return dict.fromkeys(("memory", "pids", "cpu"), folder)


def seen(folders: dict[str, Path], trial: Bites = ALL_BITE) -> Gate:
    return bounds(folders, memory_bytes=64 << 20, pids=8, cpus=0.5, trial=trial)


@pytest.mark.parametrize("v2", [False, True])
class TestBounds:
    def test_as_planned(self, tmp_path: Path, *, v2: bool) -> None:
        assert seen(tree(tmp_path, v2=v2, cpu="50000 100000")).held

    @pytest.mark.parametrize(
        ("name", "old", "new"),
        [
            ("memory", str((1 << 63) - 4096), "max"),
            ("pids", "max", "max"),
            ("pids", "9", "9"),
            ("memory", "99999999", "99999999"),
        ],
    )
    def test_a_looser_one_is_named(self, tmp_path: Path, name: str, old: str, new: str, *, v2: bool) -> None:
        gate = seen(tree(tmp_path, v2=v2, cpu="50000 100000", **{name: new if v2 else old}))
        assert not gate.held
        assert f"looser than planned: {name}" in gate.found

    @pytest.mark.parametrize("quota", ["100000 100000", "none"])
    def test_a_larger_share_is_named(self, tmp_path: Path, quota: str, *, v2: bool) -> None:
        cpu = {"none": "max 100000" if v2 else "-1 100000"}.get(quota, quota)
        gate = seen(tree(tmp_path, v2=v2, cpu=cpu))
        assert not gate.held
        assert "looser than planned: cpu" in gate.found

    @pytest.mark.parametrize("name", ["memory", "pids", "cpu"])
    def test_what_does_not_bite_is_named(self, tmp_path: Path, name: str, *, v2: bool) -> None:
        trial = Bites(memory=name != "memory", pids=name != "pids", cpu=name != "cpu")
        gate = seen(tree(tmp_path, v2=v2, cpu="50000 100000"), trial)
        assert not gate.held
        assert f"did not bite: {name}" in gate.found


def test_without_groups_nothing_bounds() -> None:
    gate = seen({}, Bites(reason="no control groups"))
    assert not gate.held
    assert gate.found.endswith("did not bite: memory pids cpu no control groups")
