"""Gates of a component whose kernel is not the host's: what its kernel answers for, and what the host still must."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from veilbox.core.control import Canaries
from veilbox.core.isolation import Gate
from veilbox.seal import egress, kernel, surroundings
from veilbox.seal.canary import planted
from veilbox.seal.mounts import parse
from veilbox.seal.observe_sandbox import observe_sandbox

SANDBOX, PEER = 900_001, 900_002
HELD = ("pid-namespace", "capabilities-empty", "own-kernel", "seccomp-active")


@pytest.fixture
def canaries() -> Canaries:
    with planted() as found:
        return found


def test_on_the_hosts_kernel_the_gate_fails(canaries: Canaries) -> None:
    gate = kernel.own_kernel(canaries)
    assert not gate.held
    assert gate.found.count("as the host") == 2


@pytest.mark.parametrize(
    ("changes", "own"),
    [
        ({"boot_id": "another", "kernel": "another"}, True),
        ({"boot_id": "another"}, False),
        ({"kernel": "another"}, False),
        ({"boot_id": "", "kernel": "another"}, False),  # nobody told what the host's is
    ],
)
def test_boot_and_kernel_must_both_be_others(canaries: Canaries, changes: dict[str, str], own: bool) -> None:
    changed = replace(
        canaries,
        boot_id=changes.get("boot_id", canaries.boot_id),
        kernel=changes.get("kernel", canaries.kernel),
    )
    assert kernel.has_own_kernel(changed) is own
    assert kernel.own_kernel(changed).held is own


@pytest.mark.parametrize(
    ("device", "trie", "on_the_hosts", "on_its_own"),
    [("lo", "", True, True), ("lo", "host LOCAL", False, True), ("eth0", "", False, False)],
)
def test_a_loopback_of_its_own_kernel_may_be_up(
    monkeypatch: pytest.MonkeyPatch, device: str, trie: str, on_the_hosts: bool, on_its_own: bool
) -> None:
    files = {"/proc/net/dev": f"a\nb\n {device}: 0\n", "/proc/net/fib_trie": trie}
    monkeypatch.setattr(egress, "_read", lambda path, absent=None: files.get(path, absent))
    assert egress.interfaces_absent().held is on_the_hosts
    assert egress.interfaces_absent(own_kernel=True).held is on_its_own


def test_a_mount_that_is_nobodys_is_strange_in_any_kernel() -> None:
    lines = [
        "1 2 0:1 / /rings/raw rw - 9p none rw",
        "3 2 0:1 / /tmp ro - tmpfs none ro",
        "4 2 0:1 / /x ro - 9p none ro",
    ]
    places = ("/", "/rings", "/tmp")  # noqa: S108 - compared
    seen = parse("\n".join(lines))
    assert [point for point, mount in seen.items() if surroundings._is_strange(mount, "9p", places)] == ["/x"]
    assert {"/rings/raw", "/x"} <= {
        point for point, mount in seen.items() if surroundings._is_strange(mount, "tmpfs", places)
    }


def _process(proc: Path, pid: int, *, program: Path, capabilities: str, number: int) -> None:
    folder = proc / str(pid) / "ns"
    folder.mkdir(parents=True)
    (folder / "user").symlink_to(f"user:[{number}]")
    (folder.parent / "exe").symlink_to(program)
    sets = "".join(f"{name}:\t{capabilities}\n" for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    (folder.parent / "status").write_text(f"{sets}Seccomp:\t2\nSeccomp_filters:\t1\n")


@pytest.mark.parametrize(
    ("runs", "capabilities", "number", "lost"),
    [
        ("runsc", "8001f", 7, set()),
        ("runsc", "0", 1, set()),
        ("runsc", "8001f", 1, {"capabilities-empty"}),  # over the supervisor's user namespace
        ("runsc", "8001f", 9, {"capabilities-empty"}),  # over a neighbour's
        ("python3", "8001f", 7, {"pid-namespace", "own-kernel"}),  # the component itself is a process of the host
    ],
)
def test_the_host_looks_at_the_sandbox(
    tmp_path: Path, runs: str, capabilities: str, number: int, lost: set[str]
) -> None:
    for name in ("runsc", "python3"):
        (tmp_path / name).touch()
    proc = tmp_path / "proc"
    _process(proc, SANDBOX, program=tmp_path / runs, capabilities=capabilities, number=number)
    _process(proc, PEER, program=tmp_path / "runsc", capabilities="0", number=9)
    _process(proc, os.getpid(), program=tmp_path / "python3", capabilities="0", number=1)
    (proc / "self").symlink_to(str(os.getpid()))
    gates = observe_sandbox(SANDBOX, program=tmp_path / "runsc", peers={"peer": PEER}, proc=proc)
    found: dict[str, Gate] = {gate.name: gate for gate in gates}
    assert {name for name in HELD if not found[name].held} == lost


def test_a_sandbox_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    gates = observe_sandbox(SANDBOX, program=tmp_path / "runsc", peers={}, proc=tmp_path)
    assert not [gate for gate in gates if gate.held]
