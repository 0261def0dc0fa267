"""What veilbox's transport asks of gVisor's sandboxes beyond the contract of all runtimes, and what walls they add."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rig import Rig, Running, container, restored_namespaces, sh

from veilbox.core.plan import Mount
from veilbox.oci.runtime import cgroups
from veilbox.oci.runtime.cgroups import Place
from veilbox.oci.runtime.driver import choose, discover
from veilbox.oci.runtime.ids import USER, Allotment
from veilbox.oci.runtime.jobs import RunDirectory
from veilbox.oci.runtime.mounts import mount_tmpfs
from veilbox.oci.runtime.namespaces import enter_private_namespaces

pytestmark = pytest.mark.sealed

_MIB = 1 << 20
# Evaluates what it is sent, with the descriptors that came along as `fds`, and what it made before.
_SERVANT = """
import array, ctypes, mmap, os, socket
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, *[ctypes.c_long] * 5]
wire, kept = socket.socket(fileno=0), {}
while True:
    words, parts, _, _ = wire.recvmsg(65536, socket.CMSG_SPACE(32))
    if not words:
        break
    fds = [fd for _, _, data in parts for fd in array.array("i", data)]
    try:
        answer = repr(eval(words, dict(globals(), fds=fds)))
    except OSError as error:
        answer = f"errno {error.errno}"
    wire.send(answer.encode())
"""
_PYTHON = ("/usr/bin/python3", "-I", "-S", "-c", _SERVANT)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with restored_namespaces():
        enter_private_namespaces()
        yield cgroups.place()


@pytest.fixture
def rig(place: Place, tmp_path: Path) -> Iterator[Rig]:
    for folder in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        folder.chmod(0o711)
    fact = discover(["runsc"])[0]
    if not fact.usable:
        pytest.skip(f"runsc {fact.why}")
    run = RunDirectory(tmp_path / "run")
    with Allotment(run.ids) as allotment, run.open_job(place) as job:
        made = Rig(choose([fact], root=job.runtime_root, limited=place.limited), job, allotment, {})
        try:
            yield made
        finally:
            made.close()
        assert not any(job.runtime_root.glob("*.state"))


def _servant(rig: Rig, **settings: Any) -> Running:
    made = rig.create(_PYTHON, memory=256 * _MIB, **settings)
    rig.runtime.start(made.container_id)
    return made


def _ask(made: Running, words: str, fds: Sequence[int] = ()) -> str:
    socket.send_fds(made.control, [words.encode()], list(fds))
    return made.control.recv(65536).decode()


def test_descriptors_of_the_host_are_handed_into_the_sandbox(rig: Rig, tmp_path: Path) -> None:
    made = _servant(rig)
    source = tmp_path / "source"
    source.write_bytes(b"picture" * 1000)
    with source.open("rb") as file:
        assert _ask(made, "kept.setdefault('source', fds[0]), os.pread(fds[0], 7, 7)", [file.fileno()]).endswith(
            "b'picture')"
        )
    assert _ask(made, "mmap.mmap(kept['source'], 7, prot=mmap.PROT_READ)[:]") == "b'picture'"
    assert _ask(made, "os.write(kept['source'], b'x')") == "errno 9"
    output = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR, 0o600)
    assert _ask(made, "os.write(fds[0], b'written'), os.pwrite(fds[0], b'W', 0)", [output]) == "(7, 1)"
    assert os.pread(output, 16, 0) == b"Written"
    os.close(output)


def _with_ring(rig: Rig, name: str, ring: Path, *, read_only: bool) -> Running:
    mount = Mount(volume="raw", destination="/ring", read_only=read_only)
    bundle, ids = rig.bundle(container(name, _PYTHON, memory=256 * _MIB, mounts=(mount,)), {"raw": ring})
    made = rig.create_from(bundle, rig.job.container_id(name), ids)
    rig.runtime.start(made.container_id)
    return made


@pytest.fixture
def ring(rig: Rig) -> Path:
    folder = rig.job.mount_point("ring")
    mount_tmpfs(folder, 1 * _MIB, 0)
    return folder


def _own(made: Running, ring: Path) -> None:
    assert made.ids is not None
    os.chown(ring, made.ids.host_id(USER), made.ids.host_id(USER))


def test_two_sandboxes_speak_over_an_edge_and_share_a_ring(rig: Rig, ring: Path) -> None:
    producer = _with_ring(rig, "producer", ring, read_only=False)
    consumer = _with_ring(rig, "consumer", ring, read_only=True)
    _own(producer, ring)
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    _ask(producer, "kept.setdefault('edge', socket.socket(fileno=fds[0])) and None", [left.fileno()])
    _ask(consumer, "kept.setdefault('edge', socket.socket(fileno=fds[0])) and None", [right.fileno()])
    assert _ask(producer, "kept['edge'].send(b'slot 0')") == "6"
    assert _ask(consumer, "kept['edge'].recv(100)") == "b'slot 0'"

    _ask(producer, "kept.setdefault('fd', os.open('/ring/r', os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644))")
    _ask(producer, "os.posix_fallocate(kept['fd'], 0, 8192)")
    _ask(producer, "kept.setdefault('map', mmap.mmap(kept['fd'], 8192)) and None")
    _ask(consumer, "kept.setdefault('fd', os.open('/ring/r', os.O_RDONLY))")
    _ask(consumer, "kept.setdefault('map', mmap.mmap(kept['fd'], 8192, prot=mmap.PROT_READ)) and None")
    for word in ("frame 1", "frame 2"):  # mapped before it was written: the same memory, not a copy
        _ask(producer, f"kept['map'].__setitem__(slice(4090, 4097), b'{word}')")
        assert _ask(consumer, "kept['map'][4090:4097]") == f"b'{word}'"
    for attempt in ("os.open('/ring/r', os.O_RDWR)", "os.open('/proc/self/fd/%d' % kept['fd'], os.O_RDWR)"):
        assert _ask(consumer, attempt).startswith("errno")
    left.close()
    right.close()


def test_what_is_written_to_a_ring_is_never_executed(rig: Rig, ring: Path) -> None:
    """gVisor lets it be mapped; the host's kernel has the volume `noexec` and refuses the page when it is reached."""
    producer = _with_ring(rig, "producer", ring, read_only=False)
    _own(producer, ring)
    _ask(producer, r"kept.setdefault('fd', os.open('/ring/x', os.O_RDWR | os.O_CREAT, 0o755))")
    _ask(producer, r"os.write(kept['fd'], b'\xc3' * 4096)")
    mapped = _ask(producer, "kept.setdefault('code', libc.mmap(None, 4096, 5, 2, kept['fd'], 0))")  # R+X, private
    assert int(mapped) > 0
    call = "ctypes.CFUNCTYPE(None)(kept['code'])()"
    socket.send_fds(producer.control, [call.encode()], [])
    assert producer.ended() == 128 + signal.SIGSEGV


def test_the_kernel_is_its_own(rig: Rig) -> None:
    made = _servant(rig)
    host = (os.uname().release, Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    assert _ask(made, "os.uname().release") != repr(host[0])
    assert _ask(made, "open('/proc/sys/kernel/random/boot_id').read()") != repr(host[1])


def test_a_signal_through_the_runtime_reaches_the_program(rig: Rig) -> None:
    made = rig.create(sh("trap 'exit 5' TERM; echo on; dd bs=1 count=1 status=none"), memory=128 * _MIB)
    rig.runtime.start(made.container_id)
    assert os.read(made.output, 16) == b"on\n"
    rig.runtime.kill(made.container_id, signal.SIGTERM)
    made.control.send(b"x")  # a shell answers when its program ends
    assert made.ended() == 5


def test_memory_that_is_too_much_ends_the_sandbox(rig: Rig) -> None:
    made = _servant(rig)
    socket.send_fds(made.control, [b"len(b'x' * (512 << 20))"], [])
    assert made.ended() != 0
    events = rig.job.place.directories(rig.job.job_id, "c0")["memory"]
    text = next(p for p in (events / "memory.oom_control", events / "memory.events") if p.exists()).read_text()
    assert int(dict(line.split() for line in text.splitlines())["oom_kill"]) >= 1


def test_the_bundle_asks_for_room_for_the_sandboxs_own_threads(rig: Rig) -> None:
    bundle, _ = rig.bundle(container("c", sh("true"), pids=24))
    config = json.loads((bundle / "config.json").read_text(encoding="utf-8"))
    assert config["linux"]["resources"]["pids"]["limit"] == 24 + 256
