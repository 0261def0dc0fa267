"""The promises of `Runtime`, kept by crun, runc, runsc, sealed processes and the runtime in memory alike."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from fake_runtime import FakeRuntime
from rig import Rig, container, restored_namespaces, sh
from sealing_rig import sealing_rig

from veilbox.core.errors import ComponentDied, MachineError
from veilbox.core.plan import Container
from veilbox.oci.runtime import cgroups
from veilbox.oci.runtime.cgroups import Layout, Place
from veilbox.oci.runtime.dialect import PROCESS
from veilbox.oci.runtime.driver import OciRuntime, Runtime, RuntimeFacts, Status, choose, discover
from veilbox.oci.runtime.ids import Allotment
from veilbox.oci.runtime.jobs import RunDirectory
from veilbox.oci.runtime.namespaces import enter_private_namespaces

REAL = [pytest.param(name, marks=pytest.mark.sealed) for name in ("crun", "runc", "runsc")]
SHELL = {
    "echo": sh('message=$(dd bs=4096 count=1 status=none); echo "got $message" >&0'),
    "exit-7": sh("exit 7"),
    "say": sh("echo out; echo err >&2"),
    "wait": sh("dd bs=1 count=1 status=none"),
    "missing": ("/no/such/program",),
}


# What only the kernel can keep is not asked of the runtime in memory.
on_real = pytest.mark.parametrize("rig", REAL, indirect=True)
# gVisor's kernel answers for itself: tests/oci/runtime/test_runsc.py, and the probe in tests/sealed.
on_host_kernel = pytest.mark.parametrize("rig", REAL[:2], indirect=True)


def _fake_echo(stdin: int, _stdout: int, _stderr: int) -> int:
    with socket.socket(fileno=os.dup(stdin)) as wire:
        wire.send(b"got " + wire.recv(4096) + b"\n")
    return 0


def _fake_say(_stdin: int, stdout: int, stderr: int) -> int:
    os.write(stdout, b"out\n")
    os.write(stderr, b"err\n")
    return 0


def _fake_wait(stdin: int, _stdout: int, _stderr: int) -> int:
    os.read(stdin, 1)
    return 0


FAKE = {
    "echo": _fake_echo,
    "exit-7": lambda *_: 7,
    "say": _fake_say,
    "wait": _fake_wait,
}


def _fact(name: str) -> RuntimeFacts:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    fact = discover([name])[0]
    if not fact.usable:
        pytest.skip(f"{name} {fact.why}")
    return fact


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    if os.geteuid() != 0:
        yield Place(layout=Layout.ABSENT)
        return
    with restored_namespaces():
        enter_private_namespaces()
        yield cgroups.place()


@pytest.fixture(params=["fake", *REAL, pytest.param(PROCESS, marks=pytest.mark.sealed)])
def rig(request: pytest.FixtureRequest, place: Place, tmp_path: Path) -> Iterator[Rig]:
    tmp_path.parent.parent.chmod(0o711)  # pytest shuts its folders to others; a container's root is another
    tmp_path.parent.chmod(0o711)
    tmp_path.chmod(0o711)
    run = RunDirectory(tmp_path / "run")
    if request.param == "fake":
        with run.open_job() as job:
            yield from _used(Rig(FakeRuntime(FAKE), job, None, {name: (name,) for name in SHELL}))
        return
    if request.param == PROCESS:
        with sealing_rig(PROCESS, run) as made:
            yield from _used(made)
        return
    fact = _fact(request.param)
    with Allotment(run.ids) as allotment, run.open_job(place) as job:
        runtime = choose([fact], root=job.runtime_root, limited=place.limited)
        yield from _used(Rig(runtime, job, allotment, SHELL))
        assert not any(job.runtime_root.glob("*"))
    assert not any(folder.exists() for folder in place.job_folders(job.job_id))
    assert not job.path.exists()


def _used(rig: Rig) -> Iterator[Rig]:
    try:
        yield rig
    finally:
        rig.close()


def _status(runtime: Runtime, container_id: str) -> Status | None:
    state = runtime.state(container_id)
    return None if state is None else state.status


def test_a_life_goes_through_created_running_stopped(rig: Rig) -> None:
    made = rig.program("wait")
    assert _status(rig.runtime, made.container_id) is Status.CREATED
    assert made.process.exit_status() is None
    rig.runtime.start(made.container_id)
    assert _status(rig.runtime, made.container_id) is Status.RUNNING
    made.control.send(b"x")
    assert made.ended() == 0
    assert _status(rig.runtime, made.container_id) is Status.STOPPED
    rig.runtime.delete(made.container_id)
    assert _status(rig.runtime, made.container_id) is None


def test_state_and_handle_agree_on_the_pid(rig: Rig) -> None:
    made = rig.program("wait")
    state = rig.runtime.state(made.container_id)
    assert state is not None
    assert state.pid == made.process.pid


def test_standard_input_is_a_socket_that_passes_messages_both_ways(rig: Rig) -> None:
    made = rig.program("echo")
    rig.runtime.start(made.container_id)
    made.control.send(b"hello")
    assert made.control.recv(4096) == b"got hello\n"


def test_output_and_errors_come_back(rig: Rig) -> None:
    made = rig.program("say")
    rig.runtime.start(made.container_id)
    assert made.text() == "out\nerr\n"


def test_exit_status_is_the_programs(rig: Rig) -> None:
    made = rig.program("exit-7")
    rig.runtime.start(made.container_id)
    assert made.ended() == 7
    assert made.process.exit_status() == 7


@pytest.mark.parametrize("through", ["runtime", "handle"])
def test_a_killed_container_tells_its_signal(rig: Rig, through: str) -> None:
    made = rig.program("wait")
    rig.runtime.start(made.container_id)
    if through == "runtime":
        rig.runtime.kill(made.container_id, signal.SIGKILL)
    else:
        made.process.signal(signal.SIGKILL)
    assert made.ended() == 128 + signal.SIGKILL
    made.process.signal(signal.SIGKILL)
    rig.runtime.kill(made.container_id, signal.SIGKILL)


def test_a_container_killed_before_its_start_does_not_start(rig: Rig) -> None:
    made = rig.program("wait")
    rig.runtime.kill(made.container_id, signal.SIGKILL)
    made.ended()
    with pytest.raises(ComponentDied):
        rig.runtime.start(made.container_id)


@pytest.mark.parametrize("started", [False, True])
def test_delete_ends_what_lives(rig: Rig, *, started: bool) -> None:
    made = rig.program("wait")
    if started:
        rig.runtime.start(made.container_id)
    rig.runtime.delete(made.container_id)
    assert made.ended() == 128 + signal.SIGKILL
    assert rig.runtime.state(made.container_id) is None


def test_delete_twice_is_fine(rig: Rig) -> None:
    made = rig.program("exit-7")
    rig.runtime.delete(made.container_id)
    rig.runtime.delete(made.container_id)


def test_an_unknown_container(rig: Rig) -> None:
    assert rig.runtime.state("veilbox-unknown") is None
    rig.runtime.kill("veilbox-unknown", signal.SIGKILL)
    rig.runtime.delete("veilbox-unknown")
    with pytest.raises(MachineError):
        rig.runtime.start("veilbox-unknown")


def test_a_program_that_is_not_there_fails_and_leaves_nothing(rig: Rig) -> None:
    with pytest.raises(MachineError):  # noqa: PT012 - some runtimes tell at create, others at start
        made = rig.program("missing")
        rig.runtime.start(made.container_id)
    rig.close()
    rig.running.clear()
    assert rig.runtime.state(rig.job.container_id("c0")) is None


def test_a_bundle_without_config_names_the_reason(rig: Rig) -> None:
    with pytest.raises(MachineError, match=r"config\.json"):
        rig.create_from(rig.job.bundle("empty"), rig.job.container_id("empty"))


def test_two_containers_may_not_share_an_id(rig: Rig) -> None:
    made = rig.program("wait")
    bundle, _ids = rig.bundle(_named(rig, "second"))
    with pytest.raises(MachineError):
        rig.create_from(bundle, made.container_id)
    assert _status(rig.runtime, made.container_id) is Status.CREATED


@on_real
@pytest.mark.parametrize("timeout_s", [0.0, 0.002, 0.004, 0.008, 0.012, 0.016, 0.03])
def test_cut_off_during_create_leaves_nothing(rig: Rig, timeout_s: float) -> None:
    assert isinstance(rig.runtime, OciRuntime)
    program = Path(str(rig.runtime._command[0]))
    root = rig.job.runtime_root
    hasty = OciRuntime(program, name=rig.runtime.name, version="", root=root, timeout_s=timeout_s)
    slow = Rig(hasty, rig.job, rig.allotment, SHELL)
    with suppress(MachineError):  # the longer ones may be in time
        slow.program("wait")
    slow.close()
    assert not any(root.glob("*"))
    assert not _processes_of(root)


def _processes_of(root: Path) -> list[str]:
    word = os.fsencode(root)
    return [str(path) for path in Path("/proc").glob("[0-9]*/cmdline") if word in _read(path).split(b"\0")]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@on_host_kernel
def test_memory_limit_kills(rig: Rig) -> None:
    status, _ = rig.run(sh("head -c 300000000 /dev/zero | tail -c 299999999 >/dev/full; exit $?"), memory=40 << 20)
    assert status in {137, 1}
    events = rig.job.place.directories(rig.job.job_id, "c0")["memory"]
    assert _oom_kills(events) >= 1


def _oom_kills(folder: Path) -> int:
    text = next(p for p in (folder / "memory.oom_control", folder / "memory.events") if p.exists()).read_text()
    return int(dict(line.split() for line in text.splitlines())["oom_kill"])


@on_host_kernel
def test_pids_limit_refuses_fork(rig: Rig) -> None:
    status, text = rig.run(sh("i=0; while [ $i -lt 60 ]; do sleep 30 & i=$((i+1)); done"), pids=20)
    assert status == 2
    assert "fork" in text


INSIDE = {
    "touch /x": "Read-only file system",
    "touch /dev/x": "Read-only file system",
    "touch /proc/sys/kernel/hostname": "denied|Read-only|exist",
    "echo x > /proc/sysrq-trigger": "Read-only|denied|cannot create",
}


@pytest.mark.parametrize(("attempt", "refusal"), INSIDE.items())
@on_host_kernel
def test_nothing_of_the_root_is_writable(rig: Rig, attempt: str, refusal: str) -> None:
    status, text = rig.run(sh(attempt))
    assert status != 0
    assert re.search(refusal, text)


@on_host_kernel
def test_network_is_a_loopback_that_is_down(rig: Rig) -> None:
    _, text = rig.run(sh("cat /proc/net/dev /proc/net/route /proc/net/fib_trie /proc/net/if_inet6"))
    assert [line.split(":")[0].strip() for line in text.splitlines() if ": " in line] == ["lo"]
    assert "127.0.0.1" not in text
    assert "0000000000001" not in text


@on_host_kernel
def test_user_is_65532_mapped_to_a_range_of_its_own(rig: Rig) -> None:
    made, other = (
        rig.create(sh("cat /proc/self/uid_map /proc/self/gid_map; grep -E '^(Uid|Gid|Cap|No|Sec)' /proc/self/status"))
        for _ in range(2)
    )
    for one in (made, other):
        rig.runtime.start(one.container_id)
        lines = one.text().splitlines()
        assert one.ids is not None
        line = one.ids.lines[0]
        assert lines[0].split() == lines[1].split() == ["0", str(line.host), str(line.size)]
        rest = dict(row.split(":", 1) for row in lines[2:])
        assert rest["Uid"].split() == rest["Gid"].split() == ["65532"] * 4
        assert all(int(rest[f"Cap{name}"], 16) == 0 for name in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
        assert rest["NoNewPrivs"].strip() == "1"
        assert rest["Seccomp"].strip() == "2"
    assert made.ids is not None
    assert other.ids is not None
    assert made.ids.host_id(65532) != other.ids.host_id(65532)


@on_real
def test_mountinfo_names_no_folder_of_the_host(rig: Rig) -> None:
    _, text = rig.run(sh("cat /proc/self/mountinfo"))
    assert rig.runtime.dialect.own_kernel or "lowerdir=/proc/self/fd/" in text
    assert str(rig.job.path) not in text


@on_real
def test_host_cgroup_and_processes_are_not_seen(rig: Rig) -> None:
    _, text = rig.run(sh("cat /proc/self/cgroup; echo /proc/[0-9]*"))
    assert rig.job.job_id not in text
    assert "/proc/1 " in text or text.endswith("/proc/1\n")


@on_real
def test_the_bundle_is_what_the_runtime_was_given(rig: Rig) -> None:
    made = rig.program("wait")
    bundle = rig.job.bundle("c0")
    config = json.loads((bundle / "config.json").read_text(encoding="utf-8"))
    assert config["process"]["capabilities"]["bounding"] == []
    assert made.process.pid == int((bundle / "pid").read_text())


@on_real
def test_many_at_once(rig: Rig) -> None:
    names = [f"m{index}" for index in range(6)]
    bundles = {name: rig.bundle(_named(rig, name))[0] for name in names}
    with ThreadPoolExecutor(len(names)) as pool:
        made = list(pool.map(lambda name: rig.create_from(bundles[name], rig.job.container_id(name)), names))
        list(pool.map(lambda one: rig.runtime.delete(one.container_id), made))
    assert [one.ended() for one in made] == [137] * len(names)


def _named(rig: Rig, name: str) -> Container:
    return container(name, rig.programs["wait"])


@on_real
def test_no_other_descriptor_reaches_the_container(rig: Rig) -> None:
    _, text = rig.run(sh("for n in $(seq 0 99); do [ -e /proc/$$/fd/$n ] && echo $n; done"))
    assert text.split() == ["0", "1", "2"]
