"""Where cgroups go on each layout, with trees of plain files for hierarchies that this machine may not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from veilbox.oci.runtime import cgroups
from veilbox.oci.runtime.cgroups import Layout, Place, hierarchies, own_v2_path

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
"""
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
COVER = "99 41 0:99 / /sys/fs/cgroup/unified ro,relatime - tmpfs veilbox ro,size=4k\n"
V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("mountinfo", "layout"),
    [
        (V1, Layout.V1),
        (V1 + UNIFIED, Layout.HYBRID),
        (V1 + UNIFIED + COVER, Layout.V1),
        (V2, Layout.V2),
        ("22 27 0:21 / /proc rw - proc proc rw\n", Layout.ABSENT),
        ("", Layout.ABSENT),
    ],
)
def test_layouts(mountinfo: str, layout: Layout) -> None:
    assert hierarchies(mountinfo).layout is layout


def test_controllers_of_v1_and_their_places() -> None:
    found = hierarchies(V1).v1
    assert found["cpu"] == found["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert set(found) == {"cpu", "cpuacct", "memory", "pids", "name=systemd"}


@pytest.mark.parametrize(
    ("text", "path"),
    [("0::/user.slice/a.scope\n", "/user.slice/a.scope"), ("4:memory:/x\n0::/\n", "/"), ("4:memory:/x\n", "/")],
)
def test_own_path(text: str, path: str) -> None:
    assert own_v2_path(text) == path


def _v1_tree(base: Path, names: tuple[str, ...]) -> str:
    lines = []
    for name in names:
        (base / name).mkdir(exist_ok=True)
        lines.append(f"1 1 0:1 / {base / name} rw - cgroup cgroup rw,{name}")
    return "\n".join(lines)


def test_v1_place_uses_every_writable_hierarchy(tmp_path: Path) -> None:
    place = cgroups._place_v1(hierarchies(_v1_tree(tmp_path, ("memory", "pids", "cpu", "name=systemd"))))
    assert place.limited
    assert place.path("1f", "ingest") == "/veilbox-1f/ingest"
    assert place.directories("1f", "ingest")["memory"] == tmp_path / "memory/veilbox-1f/ingest"
    assert tmp_path / "name=systemd/veilbox-1f" in place.job_folders("1f")


def test_v1_without_a_needed_controller_is_not_limited(tmp_path: Path) -> None:
    place = cgroups._place_v1(hierarchies(_v1_tree(tmp_path, ("memory", "cpu"))))
    assert not place.limited
    assert place.path("1f", "ingest") is None
    assert place.directories("1f", "ingest") == {}
    assert place.job_folders("1f") == ()


def _v2_tree(folder: Path, enabled: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.procs").write_text("")
    (folder / "cgroup.subtree_control").write_text(enabled)


def test_v2_root_takes_the_top(tmp_path: Path) -> None:
    _v2_tree(tmp_path)
    place = cgroups._place_v2(tmp_path, "/user.slice/a.scope")
    assert place.path("1f", "ingest") == "/veilbox-1f/ingest"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert set(place.directories("1f", "x").values()) == {tmp_path / "veilbox-1f/x"}


def test_v2_without_the_top_takes_the_delegated_scope(tmp_path: Path) -> None:
    _v2_tree(tmp_path / "user.slice/a.scope", "cpu memory pids io")
    place = cgroups._place_v2(tmp_path, "/user.slice/a.scope")
    assert place.path("1f", "ingest") == "/user.slice/a.scope/veilbox-1f/ingest"
    assert place.job_path("1f") == "/user.slice/a.scope/veilbox-1f"
    assert place.directories("1f", "ingest")["pids"] == tmp_path / "user.slice/a.scope/veilbox-1f/ingest"


def test_v2_not_delegated_is_not_limited(tmp_path: Path) -> None:
    assert not cgroups._place_v2(tmp_path, "/user.slice/a.scope").limited


def test_a_busy_cgroup_is_left_for_a_leaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _v2_tree(tmp_path)
    (tmp_path / "cgroup.procs").write_text("12\n34\n")
    written: list[tuple[str, str]] = []

    def write(path: Path, text: str) -> None:
        if path.name == "cgroup.subtree_control" and not any(name.endswith("cgroup.procs") for name, _ in written):
            raise OSError(16, "Device or resource busy")
        written.append((str(path.relative_to(tmp_path)), text))

    monkeypatch.setattr(cgroups, "_write", write)
    assert cgroups._place_v2(tmp_path, "/").limited
    assert written == [
        ("veilbox-supervisor/cgroup.procs", "12"),
        ("veilbox-supervisor/cgroup.procs", "34"),
        ("cgroup.subtree_control", "+memory +pids +cpu"),
    ]


def test_removing_takes_nested_and_tolerates_absent(tmp_path: Path) -> None:
    (tmp_path / "memory/veilbox-1f/ingest/inner").mkdir(parents=True)
    place = Place(
        layout=Layout.V1,
        controllers={"memory": tmp_path / "memory"},
        folders=(tmp_path / "memory", tmp_path / "pids"),
    )
    place.remove("1f")
    place.remove("1f")
    assert list((tmp_path / "memory").iterdir()) == []
