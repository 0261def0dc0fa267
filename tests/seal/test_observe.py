from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from veilbox.core.isolation import Gate
from veilbox.seal.observe import observe

SUPERVISOR, PARENT, INIT, COMPONENT, PEER = os.getpid(), os.getppid(), 1, 900_001, 900_002
KINDS = ("pid", "mnt", "net", "ipc", "uts")
SEALED_STATUS = {
    "Uid": "1879049192\t1879049192\t1879049192\t1879049192",
    "CapInh": "0",
    "CapPrm": "0",
    "CapEff": "0",
    "CapBnd": "0",
    "CapAmb": "0",
    "NoNewPrivs": "1",
    "Seccomp": "2",
    "Seccomp_filters": "2",
}


class Proc:
    """A /proc on which processes are written down."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # The host's first process and the supervisor, which left the host's mount namespace.
        self.add(INIT, dict.fromkeys(KINDS, 1), ids="0 0 4294967295")
        if PARENT not in {0, INIT}:
            self.add(PARENT, dict.fromkeys(KINDS, 1), ids="0 0 4294967295")
        self.add(SUPERVISOR, dict.fromkeys(KINDS, 1) | {"mnt": 2}, ids="0 0 4294967295")
        self.add(COMPONENT, {kind: 100 + i for i, kind in enumerate(KINDS)}, ids="0 1879048192 65536")
        self.add(PEER, {kind: 200 + i for i, kind in enumerate(KINDS)}, ids="0 1879113728 65536")

    def add(self, pid: int, spaces: Mapping[str, int], *, ids: str) -> None:
        folder = self.root / str(pid) / "ns"
        folder.mkdir(parents=True)
        for kind in KINDS:
            (folder / kind).symlink_to(f"{kind}:[{spaces[kind]}]")
        (folder.parent / "uid_map").write_text(ids + "\n")
        self.status(pid, {})

    def status(self, pid: int, changes: Mapping[str, str]) -> None:
        text = "".join(f"{name}:\t{value}\n" for name, value in (SEALED_STATUS | dict(changes)).items())
        (self.root / str(pid) / "status").write_text(text)

    def share(self, pid: int, other: int, kind: str) -> None:
        link = self.root / str(pid) / "ns" / kind
        link.unlink()
        link.symlink_to((self.root / str(other) / "ns" / kind).readlink())

    def look(self) -> dict[str, Gate]:
        gates = observe(COMPONENT, peers={"export": PEER}, proc=self.root)
        assert len({gate.name for gate in gates}) == len(gates)
        return {gate.name: gate for gate in gates}


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def failed(gates: Mapping[str, Gate]) -> set[str]:
    return {name for name, gate in gates.items() if not gate.held}


def test_a_sealed_component_passes_every_look(proc: Proc) -> None:
    gates = proc.look()
    assert failed(gates) == set()
    assert len(gates) == 10


@pytest.mark.parametrize("other", [INIT, SUPERVISOR, PEER], ids=["init", "supervisor", "peer"])
@pytest.mark.parametrize(
    ("kind", "gate"),
    [
        ("pid", "pid-namespace"),
        ("mnt", "mount-namespace"),
        ("net", "network-namespace"),
        ("ipc", "ipc-namespace"),
        ("uts", "uts-namespace"),
    ],
)
def test_a_shared_namespace_fails(proc: Proc, other: int, kind: str, gate: str) -> None:
    proc.share(COMPONENT, other, kind)
    assert failed(proc.look()) == {gate}


def test_where_the_first_process_is_hidden_the_parent_stands_for_the_host(proc: Proc) -> None:
    if PARENT in {0, INIT}:
        pytest.skip("the tests were started by the first process")
    shutil.rmtree(proc.root / str(INIT))
    assert failed(proc.look()) == set()
    proc.share(COMPONENT, PARENT, "mnt")
    assert failed(proc.look()) == {"mount-namespace"}


def test_without_a_look_at_the_host_the_rest_is_compared_and_it_is_said(proc: Proc) -> None:
    for pid in {INIT, PARENT} - {0}:
        shutil.rmtree(proc.root / str(pid))
    gates = proc.look()
    assert failed(gates) == set()
    assert "the host's unknown (ENOENT)" in gates["mount-namespace"].found


@pytest.mark.parametrize(
    ("ids", "held"),
    [
        ("0 1879048192 65536", True),
        ("0 1879113727 1\n1 1879048192 10", True),
        ("0 1879113728 1", False),
        ("0 1879113000 1000", False),
        ("0 0 1", False),
        ("0 0 4294967295", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_ids_on_the_host_are_nobody_elses(proc: Proc, ids: str, *, held: bool) -> None:
    (proc.root / str(COMPONENT) / "uid_map").write_text(ids + "\n")
    assert proc.look()["uid-range-own"].held is held


@pytest.mark.parametrize(
    ("changes", "gate"),
    [
        ({"CapBnd": "000001ffffffffff"}, "capabilities-empty"),
        ({"NoNewPrivs": "0"}, "no-new-privileges"),
        ({"Uid": "0\t0\t0\t0"}, "uid-not-root"),
        ({"Uid": "1000\t1000\t0\t1000"}, "uid-not-root"),
        ({"Seccomp": "0"}, "seccomp-active"),
        ({"Seccomp_filters": "1"}, "seccomp-active"),
    ],
)
def test_status_seen_from_the_host(proc: Proc, changes: dict[str, str], gate: str) -> None:
    proc.status(COMPONENT, changes)
    assert failed(proc.look()) == {gate}


def test_a_component_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    proc = Proc(tmp_path)
    gates = observe(999_999, peers={"export": PEER}, proc=proc.root)
    assert {gate.held for gate in gates} == {False}
    assert {gate.found for gate in gates} == {"unknown: ENOENT"}


def test_a_peer_that_is_gone_is_unknown_and_so_fails(proc: Proc) -> None:
    gates = {gate.name: gate for gate in observe(COMPONENT, peers={"export": 999_999}, proc=proc.root)}
    assert {"pid-namespace", "uid-range-own"} <= failed(gates)


@pytest.fixture
def separated() -> Iterator[int]:
    if os.geteuid() != 0:
        pytest.skip("makes namespaces: needs root")
    command = ["unshare", "--mount", "--net", "--ipc", "--uts", sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield process.pid
        process.stdin.write(b"\n")
        process.stdin.close()


def test_a_real_process_with_four_namespaces_of_its_own(separated: int) -> None:
    gates = {gate.name: gate for gate in observe(separated, peers={})}
    spaces = {name: gate.held for name, gate in gates.items() if name.endswith("-namespace")}
    own = dict.fromkeys(("mount-namespace", "network-namespace", "ipc-namespace", "uts-namespace"), True)
    assert spaces == own | {"pid-namespace": False}
    assert not gates["uid-range-own"].held
