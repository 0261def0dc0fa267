"""What a sealed process is kept from, with the namespaces that the kernel grants and without any."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rig import Rig, Running, container, restored_namespaces
from sealing_rig import HELPERS, PROGRAMS, sealing_rig, sealing_runtime

from veilbox.core.errors import MachineError
from veilbox.core.plan import Mount
from veilbox.oci.runtime.driver import RuntimeFacts, choose
from veilbox.oci.runtime.jobs import RunDirectory
from veilbox.oci.runtime.mounts import mount_tmpfs
from veilbox.oci.runtime.namespaces import enter_private_namespaces
from veilbox.orchestrate import sealed_process

pytestmark = pytest.mark.sealed

_PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
# Says how each of its attempts went.
_TRY = """
import errno, os, sys
def tried(what):
    try:
        return eval(what) is None or "done"
    except OSError as error:
        return errno.errorcode[error.errno]
print(*(tried(what) for what in sys.argv[1:]), flush=True)
"""


@pytest.fixture(scope="module")
def mounts() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with restored_namespaces():
        enter_private_namespaces()
        yield


@pytest.fixture(params=HELPERS)
def rig(request: pytest.FixtureRequest, mounts: None, tmp_path: Path) -> Iterator[Rig]:
    del mounts
    for folder in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        folder.chmod(0o711)
    with sealing_rig(request.param, RunDirectory(tmp_path / "run")) as made:
        try:
            yield made
        finally:
            made.close()


def _tried(rig: Rig, *attempts: str) -> list[str]:
    status, text = rig.run((*_PYTHON, _TRY, *attempts))
    assert status == 0, text
    return text.split()


def test_nothing_of_the_host_opens_and_no_program_starts(rig: Rig, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("not for you", encoding="utf-8")
    canary.chmod(0o644)
    answers = _tried(
        rig,
        f"os.open({str(canary)!r}, 0)",
        "os.listdir('/root')",
        "os.open('/proc/1/environ', 0) if os.getpid() != 1 else os.open('/etc/shadow', 0)",
        "os.open('/new', os.O_CREAT | os.O_WRONLY)",
        "os.open('/dev/shm/new', os.O_CREAT | os.O_WRONLY)",
        "os.execv('/bin/sh', ['sh'])",
    )
    assert set(answers) <= {"EACCES", "ENOENT", "EROFS"}


def test_rights_are_given_up_before_the_image_runs(rig: Rig) -> None:
    made = rig.create(
        (
            *_PYTHON,
            "print(open('/proc/self/status').read(), os.listdir('/proc/self/fd')) if (os := __import__('os')) else 0",
        )
    )
    rig.runtime.start(made.container_id)
    text = made.text()
    status = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    assert made.ids is not None
    assert status["Uid"].split() == status["Gid"].split() == [str(made.ids.host_id(65532))] * 4
    assert all(int(status[f"Cap{name}"], 16) == 0 for name in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert "['0', '1', '2', '3']" in text  # the last is the listing's own


def test_a_ring_is_written_by_its_writer_only(rig: Rig) -> None:
    volume = rig.job.mount_point("volume-raw")
    mount_tmpfs(volume, 1 << 20, 0)
    volume.chmod(0o777)  # so that only the wall keeps the reader
    found = []
    for read_only in (False, True):
        code = (
            "import os\n"
            "folder = (os.environ.get('VEILBOX_RINGS') or '').split(':')[0] or '/rings/raw'\n"
            f"folder = {str(volume)!r} if os.path.isdir({str(volume)!r}) else folder\n"
            "try:\n os.close(os.open(folder + '/ring', os.O_CREAT | os.O_RDWR, 0o644)); print('written')\n"
            "except OSError as error: print(error.errno)\n"
            "print(os.path.exists(folder + '/ring'))"
        )
        mount = Mount(volume="raw", destination="/rings/raw", read_only=read_only)
        made = _with_ring(rig, code, mount, volume)
        rig.runtime.start(made.container_id)
        found.append(made.text().split())
    assert found[0] == ["written", "True"]
    assert found[1][0] in {"13", "30"}  # EACCES of Landlock, EROFS of the mount
    assert found[1][1] == "True"


def _with_ring(rig: Rig, code: str, mount: Mount, volume: Path) -> Running:
    plan = container(f"ring-{mount.read_only}", (*_PYTHON, code), mounts=(mount,))
    bundle, ids = rig.bundle(plan, {"raw": volume})
    return rig.create_from(bundle, rig.job.container_id(plan.name), ids)


@pytest.mark.parametrize("timeout_s", [0.0, 0.02, 0.08])
def test_cut_off_while_it_is_made_leaves_nothing(rig: Rig, timeout_s: float) -> None:
    root = rig.job.runtime_root
    hasty = Rig(sealing_runtime("process", root, timeout_s), rig.job, rig.allotment, PROGRAMS, rig.image)
    with suppress(MachineError):  # the longer ones may be in time
        hasty.program("wait")
    hasty.close()
    assert not any(root.glob("*"))
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if os.fsencode(root) in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_processes_of_a_dead_supervisor_are_swept(mounts: None, tmp_path: Path) -> None:
    """Also those that were never started, and could not ask to die with it."""
    del mounts
    for folder in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        folder.chmod(0o711)
    run = RunDirectory(tmp_path / "run")
    script = Path(__file__).with_name("sealing_supervisor.py")
    with subprocess.Popen([sys.executable, script, run.path], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pids = json.loads(supervisor.stdout.readline())
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait()
    assert len(run.sweep()) == 1
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert not [*(run.path / "jobs").iterdir()]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config["process"].update(args=["/no/such"]), "not in the image"),
        (lambda config: config["linux"]["seccomp"].update(defaultAction="SCMP_ACT_ALLOW"), "no list of allowed"),
        (lambda config: config["process"].pop("rlimits"), "rlimits"),
        (lambda config: config["linux"].update(uidMappings=[]), "not mapped"),
    ],
)
def test_a_bundle_that_asks_for_too_little_is_refused(tmp_path: Path, change: object, said: str) -> None:
    config = {
        "root": {"path": "/"},
        "hostname": "h",
        "mounts": [],
        "process": {"args": ["/usr/bin/env"], "env": [], "rlimits": [], "user": {"uid": 65532}},
        "linux": {
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []},
            "uidMappings": [{"containerID": 65532, "hostID": 7, "size": 1}],
        },
    }
    assert callable(change)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert sealed_process.read(tmp_path).user == 7
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(MachineError, match=said):
        sealed_process.read(tmp_path)


def test_without_any_runtime_the_error_names_the_way_out() -> None:
    fact = RuntimeFacts(name="crun", binary=None, version="", usable=False, why="is not installed")
    with pytest.raises(MachineError, match=r"apt-get install crun.*--runtime process"):
        choose([fact], root=Path("/nowhere"))
