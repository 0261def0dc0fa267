"""The findings beside the gates: each tells a bare process from a sealed one, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from veilbox.core.control import Canaries
from veilbox.core.isolation import DEEP, GATES, Gate
from veilbox.seal import deep, surroundings
from veilbox.seal.canary import planted
from veilbox.seal.probe import probe

WALLS = Path(__file__).parent / "walls.py"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="builds namespaces, mounts and id maps by hand: needs root")


@pytest.fixture(scope="module")
def canaries() -> Iterator[Canaries]:
    with planted() as found:
        yield replace(found, volumes=("/raw",))


def sealed(canaries: Canaries, *missing: str) -> dict[str, Gate]:
    command = [sys.executable, str(WALLS), json.dumps(asdict(canaries)), *missing]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        pytest.fail(done.stderr)
    return {gate["name"]: Gate(**gate) for gate in json.loads(done.stdout)}


def test_every_finding_is_there_once_behind_the_gates(canaries: Canaries) -> None:
    names = [gate.name for gate in probe(canaries)]
    assert names[-len(DEEP) :] == list(DEEP)
    assert len(names) == len(set(names))
    assert not DEEP.keys() & GATES.keys()


@needs_root
def test_behind_every_wall_they_hold(canaries: Canaries) -> None:
    """But for what walls.py has not: masks over /proc, limits, filters of arguments, Landlock."""
    lacking = {
        "own-walls", "proc-leaks-absent", "core-dumps-off", "terminal-absent", "memory-not-executable",
        "shared-files-mute",
    }  # fmt: skip
    found = sealed(canaries)
    assert {name for name in DEEP if not found[name].held} <= lacking


# What is left out, and which findings must fail for it.
MISSING: list[tuple[tuple[str, ...], set[str]]] = [
    (("filter",), {"keyrings-refused", "kernel-surfaces-refused"}),
    (("net", "filter"), {"near-addresses", "abstract-names-absent"}),
    (("root",), {"sys-leaks-absent"}),
    (("user", "uid"), {"kernel-settings-read-only", "proc-leaks-absent"}),
    (("root", "user", "uid"), {"cgroup-read-only"}),
]


@needs_root
@pytest.mark.parametrize(("missing", "failed"), MISSING, ids=["+".join(missing) for missing, _ in MISSING])
def test_without_a_wall_they_fail(canaries: Canaries, missing: tuple[str, ...], failed: set[str]) -> None:
    found = sealed(canaries, *missing)
    assert failed <= {name for name in DEEP if not found[name].held}


def test_through_shared_files_a_process_can_speak_until_its_own_filter_lies() -> None:
    script = """
import ctypes
from veilbox.seal import deep
from veilbox.seal.allowlist import syscalls
from veilbox.seal.second_filter import tighten
before = deep.shared_files_mute()
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
assert tighten(syscalls("ingest"))
for gate in (before, deep.shared_files_mute()):
    print(gate.held, gate.found)
"""
    with Path(__file__).open("rb") as held:
        done = subprocess.run([sys.executable, "-c", script], stdin=held, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "False lock allowed, ask allowed, wake allowed",
        "True lock EPERM, ask EPERM, wake EPERM",
    ]


def test_a_socket_of_an_engine_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "docker.sock"
    monkeypatch.setattr(deep, "_SOCKETS", (str(path),))
    assert deep.runtime_sockets_absent().held
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        assert not deep.runtime_sockets_absent().held  # nobody listens, yet it is there
        engine.listen()
        gate = deep.runtime_sockets_absent()
    assert not gate.held
    assert "allowed" in gate.found


def test_a_socket_of_the_host_is_found_by_every_jobs_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canaries: Canaries
) -> None:
    path = tmp_path / "docker.sock"
    monkeypatch.setattr(surroundings, "_HOST_PATHS", (str(path),))
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        assert str(path) in surroundings.host_files_absent(canaries).found


def test_an_open_folder_and_a_working_directory_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    before = deep.descriptors_closed().found
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert deep.descriptors_closed().found != before
        assert not deep.descriptors_closed().held
    finally:
        os.close(descriptor)
    monkeypatch.chdir(tmp_path)
    assert not deep.descriptors_closed().held


@pytest.mark.parametrize(
    ("name", "held"), [("PATH", True), ("AWS_SECRET_KEY", False), ("GH_TOKEN", False), ("https_proxy", False)]
)
def test_a_variable_of_a_secret_is_named_and_not_told(
    monkeypatch: pytest.MonkeyPatch, name: str, *, held: bool
) -> None:
    for other in list(os.environ):
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, "hunter2")
    gate = deep.environment_clean()
    assert gate.held is held
    assert "hunter2" not in gate.found


def test_a_named_socket_is_found() -> None:
    with socket.socket(socket.AF_UNIX) as named:
        named.bind("\0veilbox-test-deep")
        assert not deep.abstract_names_absent().held


@pytest.mark.parametrize(
    ("content", "tells"),
    [
        (b"0000000000000000 T startup_64\n", False),
        (b"ffffffff81000000 T startup_64\n", True),
        (b"00000000-00000000 : Reserved\n", False),
        (b"00001000-0009fbff : System RAM\n", True),
        (b"ext4 1 1 - Live 0x0000000000000000\n", False),
        (b"ext4 1 1 - Live 0xffffffffc0000000\n", True),
        (b"", False),
    ],
)
def test_addresses_are_told_from_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, *, tells: bool
) -> None:
    path = tmp_path / "kallsyms"
    path.write_bytes(content)
    monkeypatch.setattr(deep, "_ADDRESSES", (str(path),))
    monkeypatch.setattr(deep, "_PROC_LEAKS", ())
    monkeypatch.setattr(deep, "_GROUPS", str(tmp_path / "none"))
    assert deep.proc_leaks_absent().held is not tells


@pytest.mark.parametrize(
    ("content", "tells"),
    [("0::/\n", False), ("9:name=systemd:/\n1:cpu:/\n", False), ("1:cpu:/\n0::/jobs/7/ingest\n", True), ("", False)],
)
def test_a_control_group_with_a_path_tells_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, *, tells: bool
) -> None:
    path = tmp_path / "cgroup"
    path.write_text(content)
    for name, value in (("_ADDRESSES", ()), ("_PROC_LEAKS", ()), ("_GROUPS", str(path))):
        monkeypatch.setattr(deep, name, value)
    assert deep.proc_leaks_absent().held is not tells


def test_a_writable_setting_and_control_group_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "core_pattern"
    monkeypatch.setattr(deep, "_SETTINGS", (str(file),))
    assert deep.kernel_settings_read_only().held
    file.touch()
    gate = deep.kernel_settings_read_only()
    assert (gate.held, gate.found) == (False, f"open: {file}")
    assert file.read_bytes() == b""


@pytest.mark.parametrize(("soft", "held"), [(0, True), (4096, False)])
def test_limits_of_core_files(soft: int, *, held: bool) -> None:
    script = "from veilbox.seal.deep import core_dumps_off; print(core_dumps_off().held)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (soft, soft)),
    )
    assert done.stdout.strip() == str(held)


def test_nothing_is_left_behind(canaries: Canaries) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    probe(canaries)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize("taken", [True, False])
def test_what_a_component_took_from_itself(*, taken: bool) -> None:
    laying = "lay_own_walls('ingest'); " if taken else ""
    script = (
        "from veilbox.seal.own_walls import lay_own_walls; from veilbox.seal.deep import own_walls; "
        f"{laying}print(own_walls().held)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(taken)


@pytest.mark.parametrize(
    ("taken_away", "held"),
    [("restrict", True), ("tighten", False)],
    ids=["a kernel without Landlock", "no second filter"],
)
def test_each_of_the_two_counts(taken_away: str, *, held: bool) -> None:
    script = (
        "from veilbox.seal import own_walls; from veilbox.seal.deep import own_walls as tried; "
        f"own_walls.{taken_away} = lambda *_, **__: False; own_walls.lay_own_walls('ingest'); print(tried().held)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(held)
