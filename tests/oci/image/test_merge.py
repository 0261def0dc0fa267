from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.errors import MachineError
from veilbox.oci.image import merge
from veilbox.oci.image.merge import merged, merged_digest
from veilbox.oci.image.squash import chain_id
from veilbox.oci.image.usage import disk_bytes

# A folder, a file's content, or where a link points.
Tree = Mapping[str, "Tree | bytes | str"]

NAMES = st.sampled_from(["a", "b", "c"])
LEAVES = st.one_of(st.binary(max_size=3), st.sampled_from(["a", "b/c", "gone"]))
TREES = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=3),
    lambda inner: st.dictionaries(NAMES, st.one_of(LEAVES, inner), max_size=3),
    max_leaves=8,
)


def plant(folder: Path, tree: Tree) -> None:
    folder.mkdir()
    for name, what in tree.items():
        if isinstance(what, bytes):
            (folder / name).write_bytes(what)
        elif isinstance(what, str):
            (folder / name).symlink_to(what)
        else:
            plant(folder / name, what)


def seen(folder: Path) -> Tree:
    return {
        path.name: str(path.readlink()) if path.is_symlink() else seen(path) if path.is_dir() else path.read_bytes()
        for path in folder.iterdir()
    }


def overlaid(lower: Tree, upper: Tree) -> Tree:
    """What overlayfs shows (Documentation/filesystems/overlayfs.rst): folders join, everything else hides."""
    result = dict(lower)
    for name, what in upper.items():
        below = result.get(name)
        both = isinstance(what, Mapping) and isinstance(below, Mapping)
        result[name] = overlaid(below, what) if both else what  # type: ignore[arg-type]
    return result


def layers_of(store: Path, *trees: Tree) -> tuple[Path, ...]:
    (store / "sha256").mkdir(parents=True)
    folders = tuple(store / "sha256" / f"{number:064x}" for number in range(len(trees)))
    for folder, tree in zip(folders, trees, strict=True):
        plant(folder, tree)
    return folders


@given(trees=st.lists(TREES, min_size=1, max_size=4))
def test_a_merged_folder_is_what_an_overlay_shows(tmp_path_factory: pytest.TempPathFactory, trees: list[Tree]) -> None:
    store = tmp_path_factory.mktemp("merge") / "layers"
    folders = layers_of(store, *trees)
    expected: Tree = {}
    for tree in trees:
        expected = overlaid(expected, tree)
    folder = merged(folders)
    assert seen(folder) == expected
    assert [seen(one) for one in folders] == trees
    assert sorted(path.name for path in (store / "sha256").iterdir()) == sorted(one.name for one in folders)


LOWER: Tree = {"lib": {"a": b"1" * 9000}, "etc": b"2"}
UPPER: Tree = {"lib": {"b": b"3" * 9000}}


def test_files_are_not_written_a_second_time(tmp_path: Path) -> None:
    folders = layers_of(tmp_path / "layers", LOWER, UPPER)
    before = disk_bytes(tmp_path)
    folder = merged(folders)
    for name, layer in (("lib/a", 0), ("lib/b", 1)):
        assert (folder / name).stat().st_ino == (folders[layer] / name).stat().st_ino
    assert disk_bytes(tmp_path) - before < 20_000
    assert folder == tmp_path / "layers" / "chains" / merged_digest(folders).hex
    assert folder.stat().st_mode & 0o777 == (folder / "lib").stat().st_mode & 0o777 == 0o755


def test_it_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = layers_of(tmp_path / "layers", LOWER, UPPER)
    folder = merged(folders)
    monkeypatch.setattr(os, "link", None)
    assert merged(folders) == folder


def test_its_name_is_the_image_spec_s_chain_id(tmp_path: Path) -> None:
    folders = layers_of(tmp_path / "layers", LOWER, UPPER)
    from veilbox.core.digest import Digest  # noqa: PLC0415

    assert merged_digest(folders) == chain_id([Digest(f"sha256:{one.name}") for one in folders])


def test_without_hard_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    linking: Tree = {**LOWER, "l": "lib/a"}
    folders = layers_of(tmp_path / "layers", linking, UPPER)
    folder = merged(folders)
    assert seen(folder) == overlaid(linking, UPPER)
    assert (folder / "etc").stat().st_ino != (folders[0] / "etc").stat().st_ino


def test_no_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "lib/b")

    monkeypatch.setattr(merge, "_link", full)
    folders = layers_of(tmp_path / "layers", LOWER, UPPER)
    with pytest.raises(MachineError, match=r"lib/b: .*No space left.*VEILBOX_HOME"):
        merged(folders)
    assert not (tmp_path / "layers" / "chains").exists()
    assert sorted(path.name for path in (tmp_path / "layers" / "sha256").iterdir()) == [one.name for one in folders]
