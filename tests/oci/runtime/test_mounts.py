"""Mounts and descriptors that stay read-only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import restored_namespaces

from veilbox.core.errors import MachineError, SourceMissing, SourceUnsupported
from veilbox.oci.runtime import mounts, syscalls
from veilbox.oci.runtime.mounts import OverlayRefused, mount_overlay, mount_tmpfs, read_only_clone, unmount
from veilbox.oci.runtime.namespaces import enter_private_namespaces


@pytest.fixture
def private_mounts() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with restored_namespaces():
        enter_private_namespaces()
        yield


def _refuse(*_: object) -> int:
    raise OSError(38, "Function not implemented")


@pytest.mark.parametrize("name", [b"plain.mp4", b"-o", b"a b\nc", b"\xff\xfe.jpg", "ä.png".encode()])
@pytest.mark.parametrize("kernel", ["new", "old"])
def test_sources_of_any_name_are_read(
    tmp_path: Path, name: bytes, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel == "old":
        monkeypatch.setattr(syscalls, "clone_mount", _refuse)
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"pixels")
    with os.fdopen(read_only_clone(path), "rb") as file:
        assert file.read() == b"pixels"
        assert not os.get_inheritable(file.fileno())


@pytest.mark.sealed
@pytest.mark.usefixtures("private_mounts")
def test_a_clone_cannot_be_opened_for_writing_even_by_root(tmp_path: Path) -> None:
    path = tmp_path / "open to all"
    path.write_bytes(b"pixels")
    path.chmod(0o666)
    with os.fdopen(read_only_clone(path), "rb") as file:
        for flags in (os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_TRUNC):
            with pytest.raises(OSError, match="Read-only file system"):
                os.open(f"/proc/self/fd/{file.fileno()}", flags)
        with pytest.raises(OSError, match="Read-only file system"):
            Path(f"/proc/self/fd/{file.fileno()}").chmod(0o600)
    assert path.read_bytes() == b"pixels"


def test_no_source_names_it(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="gone"):
        read_only_clone(tmp_path / "gone.mp4")


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    with os.fdopen(read_only_clone(tmp_path / "link"), "rb") as file:
        assert file.read() == b"x"


def test_a_pipe_and_a_folder_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(SourceUnsupported):
            read_only_clone(path)


@pytest.mark.sealed
@pytest.mark.usefixtures("private_mounts")
@pytest.mark.parametrize("count", [1, 2, 5])
def test_layers_lie_on_each_other_read_only(tmp_path: Path, count: int) -> None:
    layers = [tmp_path / f"layer{number}" for number in range(count)]
    for number, layer in enumerate(layers):
        layer.mkdir()
        (layer / "who").write_text(f"{number}")
        (layer / f"only{number}").touch()
    target = tmp_path / "root"
    target.mkdir()
    mount_overlay(layers, target)
    assert (target / "who").read_text() == "0"
    assert {path.name for path in target.glob("only*")} == {f"only{number}" for number in range(count)}
    with pytest.raises(OSError, match="Read-only"):
        (target / "who").write_text("x")
    mine = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {target} " in line]
    assert "layer" not in mine[-1].partition(" - ")[2]
    unmount(target)
    unmount(target)
    assert list(target.iterdir()) == []


@pytest.mark.sealed
@pytest.mark.usefixtures("private_mounts")
def test_a_volume_is_bounded_and_its_owners(tmp_path: Path) -> None:
    mount_tmpfs(tmp_path, 65536, 1879048192 + 65532)
    assert (tmp_path.stat().st_uid, tmp_path.stat().st_gid) == (1879113724, 1879113724)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    with pytest.raises(OSError, match="No space"):
        (tmp_path / "ring").write_bytes(bytes(1 << 20))


@pytest.mark.sealed
@pytest.mark.usefixtures("private_mounts")
def test_refusals_name_the_place(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="nowhere"):
        mount_tmpfs(tmp_path / "nowhere", 4096, 0)
    with pytest.raises(MachineError, match="layer9"):
        mounts.mount_overlay([tmp_path / "layer9"], tmp_path)


def test_a_refused_overlay_is_told_from_a_missing_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "mount", _refuse)
    layers = [tmp_path / name for name in ("a", "b")]
    for layer in layers:
        layer.mkdir()
    with pytest.raises(OverlayRefused, match="modprobe overlay"):
        mount_overlay(layers, tmp_path)
    with pytest.raises(MachineError) as told:  # one folder needs no overlay, so its refusal is not one
        mount_overlay(layers[:1], tmp_path)
    assert not isinstance(told.value, OverlayRefused)
