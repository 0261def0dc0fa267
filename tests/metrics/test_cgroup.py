from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from veilbox.metrics.cgroup import UNIFIED, Hierarchies, Hierarchy, Meter, Usage

V1 = {
    "cpuacct/veilbox/a/cpuacct.usage": "2500000000\n",
    "memory/veilbox/a/memory.max_usage_in_bytes": "1000000\n",
    "memory/veilbox/a/memory.stat": "rss 1\nshmem 2\ntotal_rss 4096\ntotal_shmem 8192\n",
    "memory/veilbox/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "blkio/veilbox/a/blkio.throttle.io_service_bytes_recursive": (
        "254:0 Read 4096\n254:0 Write 512\n254:0 Sync 0\n254:0 Total 4608\n8:0 Read 1\n8:0 Write 2\nTotal 4611\n"
    ),
}
V2 = {
    "unified/veilbox/a/cpu.stat": "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n",
    "unified/veilbox/a/memory.peak": "1000000\n",
    "unified/veilbox/a/memory.stat": "anon 4096\nfile 99999\nshmem 8192\n",
    "unified/veilbox/a/memory.events": "low 0\nmax 0\noom 1\noom_kill 1\n",
    "unified/veilbox/a/io.stat": "254:0 rbytes=4096 wbytes=512 rios=1 wios=1 dbytes=0 dios=0\n8:0 rbytes=1 wbytes=2\n",
    "unified/veilbox/a/pids.peak": "7\n",
}
EXPECTED = Usage(
    cpu_s=2.5,
    memory_peak_bytes=1000000,
    anonymous_sampled_peak_bytes=12288,
    io_read_bytes=4097,
    io_written_bytes=514,
    pids_peak=None,
    oom_kills=1,
)
NOTHING = Usage(
    cpu_s=None,
    memory_peak_bytes=None,
    anonymous_sampled_peak_bytes=None,
    io_read_bytes=None,
    io_written_bytes=None,
    pids_peak=None,
    oom_kills=None,
)


def tree(root: Path, files: Mapping[str, str]) -> Hierarchies:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    names = {name.partition("/")[0] for name in files}
    return Hierarchies(
        by_controller={(UNIFIED if name == "unified" else name): Hierarchy(point=root / name) for name in names}
    )


def test_v1(tmp_path: Path) -> None:
    assert Meter.at("/veilbox/a", tree(tmp_path, V1)).read() == EXPECTED


def test_v2(tmp_path: Path) -> None:
    usage = Meter.at("/veilbox/a", tree(tmp_path, V2)).read()
    assert usage.pids_peak == 7
    assert usage == replace(EXPECTED, pids_peak=7)


def test_hybrid_where_the_unified_hierarchy_has_no_controllers(tmp_path: Path) -> None:
    files = V1 | {"unified/veilbox/a/cgroup.procs": "", "unified/veilbox/a/cpu.stat": "usage_usec 1\n"}
    assert Meter.at("/veilbox/a", tree(tmp_path, files)).read() == EXPECTED


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("path", ["/veilbox/b", "../../etc", "/"])
def test_what_is_not_there_is_none_and_not_zero(tmp_path: Path, files: Mapping[str, str], path: str) -> None:
    assert Meter.at(path, tree(tmp_path, files)).read() == NOTHING


def test_no_hierarchies_at_all() -> None:
    assert Meter.at("/veilbox/a", Hierarchies(by_controller={})).read() == NOTHING


def test_no_input_or_output_yet_is_zero(tmp_path: Path) -> None:
    usage = Meter.at("/a", tree(tmp_path, {"unified/a/io.stat": ""})).read()
    assert (usage.io_read_bytes, usage.io_written_bytes) == (0, 0)


def test_the_sampled_peak_is_the_greatest_sample(tmp_path: Path) -> None:
    meter = Meter.at("/veilbox/a", tree(tmp_path, V2))
    stat = tmp_path / "unified/veilbox/a/memory.stat"
    for anon in (10, 5000, 20):
        stat.write_text(f"anon {anon}\nshmem 1\n")
        meter.sample()
    stat.unlink()
    assert meter.read().anonymous_sampled_peak_bytes == 5001


def test_a_process_tells_its_groups(tmp_path: Path) -> None:
    hierarchies = tree(tmp_path, V1 | {"cpuacct/elsewhere/cpuacct.usage": "1000000000\n"})
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "cgroup").write_text(
        "4:memory:/veilbox/a\n2:cpu,cpuacct:/elsewhere\n1:name=systemd:/a:b\n0::/\n"
    )
    usage = Meter.of_process(42, hierarchies, proc=tmp_path).read()
    assert (usage.cpu_s, usage.memory_peak_bytes, usage.io_read_bytes) == (1.0, 1000000, None)


def test_a_process_that_is_gone(tmp_path: Path) -> None:
    assert Meter.of_process(42, tree(tmp_path, V1), proc=tmp_path).read() == NOTHING


MOUNTINFO = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/x /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
nonsense
"""


def test_mounts_are_found_by_controller() -> None:
    found = Hierarchies.parse(MOUNTINFO).by_controller
    assert {name: str(hierarchy.point) for name, hierarchy in found.items()} == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "name=systemd": "/sys/fs/cgroup/systemd",
        UNIFIED: "/sys/fs/cgroup/unified",
    }
    assert found["memory"].root == PurePosixPath("/docker/x")


@pytest.mark.parametrize(
    ("root", "path", "folder"),
    [
        ("/", "/veilbox/a", "/cg/veilbox/a"),
        ("/", "veilbox/a", "/cg/veilbox/a"),
        ("/docker/x", "/docker/x/veilbox", "/cg/veilbox"),
        ("/docker/x", "/veilbox", "/cg/veilbox"),
        ("/", "/", "/cg"),
    ],
)
def test_a_groups_folder(root: str, path: str, folder: str) -> None:
    assert Hierarchy(point=Path("/cg"), root=PurePosixPath(root)).folder(path) == Path(folder)


BURN = """
import os, sys
for path in sys.argv[1:]:
    with open(path + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
block = bytearray(64 << 20)
for i in range(3_000_000):
    pass
input()
"""


@pytest.fixture
def real_group() -> Iterator[str]:
    """A group of the same path in every hierarchy that has a controller this test reads."""
    if os.geteuid() != 0:
        pytest.skip("makes control groups: needs root")
    name = f"veilbox-test-{os.getpid()}"
    hierarchies = Hierarchies.here().by_controller
    folders = [hierarchies[key].point / name for key in ("cpuacct", "memory", UNIFIED) if key in hierarchies]
    made: list[Path] = []
    try:
        for folder in dict.fromkeys(folders):
            folder.mkdir()
            made.append(folder)
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error.strerror}")
    finally:
        if len(made) < len(set(folders)):
            for folder in made:
                folder.rmdir()
    yield name
    for folder in made:
        folder.rmdir()


def test_real_control_groups(real_group: str) -> None:
    hierarchies = Hierarchies.here()
    folders = [str(hierarchies.by_controller[key].folder(real_group)) for key in hierarchies.by_controller]
    folders = [folder for folder in folders if Path(folder).is_dir()]
    if not folders:
        pytest.skip("this machine mounts no control groups")
    with subprocess.Popen(
        [sys.executable, "-c", BURN.replace("input()", "print(flush=True); input()"), *folders],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        by_path = Meter.at(real_group, hierarchies).read()
        by_process = Meter.of_process(process.pid, hierarchies).read()
        process.stdin.write(b"\n")
        process.stdin.close()
    assert by_path.cpu_s is not None
    assert by_path.cpu_s > 0
    if by_path.memory_peak_bytes is None or by_path.anonymous_sampled_peak_bytes is None:
        pytest.skip("this machine's groups have no memory controller")
    assert by_path.anonymous_sampled_peak_bytes >= 64 << 20
    assert by_path.memory_peak_bytes >= 64 << 20
    assert by_process.memory_peak_bytes is not None
    assert by_process.memory_peak_bytes >= 64 << 20
