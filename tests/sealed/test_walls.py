"""From inside every container, during a real job: each wall by name; and the same from the host's side."""

from __future__ import annotations

import json
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from leftovers import components
from sealed_workshop import VEILBOX, RunVeilbox, make_film

from veilbox.core.isolation import GATES, Level

pytestmark = pytest.mark.sealed

COMPONENTS = ("ingest", "detect-centerface", "anonymize", "export", "verify", "second-centerface", "audit")
# Which ring volumes a component may mount, and which of them read-only: the design's least sight.
SIGHT = {
    "ingest": {"/rings/raw": "rw", "/rings/analysis": "rw"},
    "detect-centerface": {"/rings/analysis": "ro"},
    "anonymize": {"/rings/raw": "ro", "/rings/clean": "rw"},
    "export": {"/rings/clean": "ro"},
    "verify": {"/rings/second": "rw"},
    "second-centerface": {"/rings/second": "ro"},
    "audit": {},
}
REQUIRED = [name for name, level in GATES.items() if level <= Level.UNPRIVILEGED] + [
    "seccomp-active",
    "forbidden-calls-refused",
]


@pytest.fixture(scope="module")
def report(veilbox: RunVeilbox, short_film: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    run = veilbox("anonymize", short_film, "-o", tmp_path_factory.mktemp("walls") / "out.mp4", "--json")
    assert run.status == 0, run.stderr
    return run.json


@pytest.mark.parametrize("gate", REQUIRED)
@pytest.mark.parametrize("component", COMPONENTS)
def test_the_wall_stands(report: Any, component: str, gate: str) -> None:
    gates = [found for found in report["components"][component]["isolation"]["gates"] if found["name"] == gate]
    assert gates, f"{gate} was not tried"
    for found in gates:
        assert found["held"], found


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_level_follows(report: Any, component: str) -> None:
    isolation = report["components"][component]["isolation"]
    assert isolation["level"] >= Level.UNPRIVILEGED
    assert isolation["failed"] not in REQUIRED


class _Seen:
    """What the host's /proc says of one component while it works."""

    def __init__(self, pid: int, source: int) -> None:
        proc = Path(f"/proc/{pid}")
        lines = (line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
        self.status = {key: value.strip() for key, value, *_ in (line for line in lines if len(line) == 2)}
        self.uid_map = [int(word) for word in (proc / "uid_map").read_text().split()]
        self.interfaces = [line.split(":")[0].strip() for line in (proc / "net/dev").read_text().splitlines()[2:]]
        self.routes = (proc / "net/route").read_text().splitlines()[1:]
        self.mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
        self.descriptors = [str(entry.readlink()) for entry in (proc / "fd").iterdir()]
        self.holds_source = source in _open_files(pid)
        self.namespaces = {entry.name: str(entry.readlink()) for entry in (proc / "ns").iterdir()}

    @property
    def rings(self) -> dict[str, str]:
        return {words[4]: words[5].split(",")[0] for words in self.mounts if words[4].startswith("/rings")}

    @property
    def root_options(self) -> list[str]:
        return next(words[5].split(",") for words in self.mounts if words[4] == "/")


@pytest.fixture(scope="module")
def seen(sealed: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, _Seen]:
    """Look at a running job from the host, once its frames flow."""
    del sealed
    folder = tmp_path_factory.mktemp("seen")
    source = folder / "film.mp4"
    make_film(source, frames=300)
    job = subprocess.Popen(
        [VEILBOX, "anonymize", source, "-o", folder / "out.mp4", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        pids: dict[str, int] = {}
        inode = source.stat().st_ino
        until = time.monotonic() + 60
        while time.monotonic() < until and job.poll() is None:
            pids = {name: pid for pid, name in components(job.pid).items()}
            if len(pids) == len(COMPONENTS) and inode in _open_files(pids["ingest"]):
                looks = {name: _Seen(pid, inode) for name, pid in pids.items()}
                if inode in _open_files(pids["ingest"]):  # held before and after, so held while we looked
                    return looks
        pytest.fail(f"no job with open source was seen, only {pids}")
    finally:
        stdout, stderr = job.communicate(timeout=120)
        assert job.returncode == 0, stderr
        assert json.loads(stdout)["outputs"]


def _open_files(pid: int) -> set[int]:
    """Inode numbers of a process's open regular files; the source's descriptor shows no name, only its inode."""
    found = set()
    with suppress(FileNotFoundError):  # the process ended
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed while we looked at it
                status = entry.stat()
                if stat.S_ISREG(status.st_mode):
                    found.add(status.st_ino)
    return found


@pytest.mark.parametrize("component", COMPONENTS)
class TestFromTheHost:
    def test_no_capability_no_new_privileges_and_a_filter(self, seen: dict[str, _Seen], component: str) -> None:
        status = seen[component].status
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"

    def test_root_inside_is_nobody_outside(self, seen: dict[str, _Seen], component: str) -> None:
        inside, outside, size = seen[component].uid_map[:3]
        assert inside == 0
        assert outside >= 100_000
        uid = int(seen[component].status["Uid"].split()[0])
        assert outside < uid < outside + size

    def test_ids_are_not_shared(self, seen: dict[str, _Seen], component: str) -> None:
        mine = seen[component].uid_map
        for name, other in seen.items():
            if name != component:
                assert mine[1] + mine[2] <= other.uid_map[1] or other.uid_map[1] + other.uid_map[2] <= mine[1]

    def test_no_namespace_is_shared(self, seen: dict[str, _Seen], component: str) -> None:
        for kind in ("pid", "mnt", "net", "ipc", "uts", "cgroup", "user"):
            mine = seen[component].namespaces[kind]
            others = [other.namespaces[kind] for name, other in seen.items() if name != component]
            assert mine not in [*others, str(Path(f"/proc/self/ns/{kind}").readlink())], kind

    def test_no_network_but_a_loopback_that_is_down(self, seen: dict[str, _Seen], component: str) -> None:
        assert seen[component].interfaces == ["lo"]
        assert seen[component].routes == []

    def test_only_the_rings_of_the_plan(self, seen: dict[str, _Seen], component: str) -> None:
        assert seen[component].rings == SIGHT[component]
        assert "ro" in seen[component].root_options

    def test_no_mount_of_the_host(self, seen: dict[str, _Seen], component: str) -> None:
        points = {words[4] for words in seen[component].mounts}
        allowed = ("/proc", "/dev", "/rings", "/sys")
        assert {point for point in points if point != "/" and not point.startswith(allowed)} == set()

    def test_only_ingest_holds_the_source(self, seen: dict[str, _Seen], component: str) -> None:
        assert seen[component].holds_source == (component == "ingest")

    def test_no_socket_file_or_pipe_but_those_handed_down(self, seen: dict[str, _Seen], component: str) -> None:
        kinds = {target.split(":")[0] for target in seen[component].descriptors if ":" in target}
        assert kinds <= {"socket", "pipe", "anon_inode"}
