from __future__ import annotations

import gzip
import io
import os
import socket
import tarfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.layer import SOURCE_DATE_EPOCH, inner_link, pack
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.unpack import Bounds, unpack_layer

# Lower case, decomposed: no two of them are one name anywhere.
NAMES = (
    st.text(
        st.characters(codec="utf-8", exclude_characters="/", categories=("L", "N", "P", "S")), min_size=1, max_size=40
    )
    .map(lambda name: unicodedata.normalize("NFKC", name.casefold()).casefold().replace("/", ""))
    .filter(lambda name: name.strip(".") and not name.startswith(".wh.") and len(name.encode()) <= 255)
)
TREES = st.recursive(st.binary(max_size=300), lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)
Tree = bytes | dict[str, "Tree"]


def plant(folder: Path, tree: Tree) -> None:
    if isinstance(tree, bytes):
        folder.write_bytes(tree)
        return
    folder.mkdir()
    for name, inner in tree.items():
        plant(folder / name, inner)


def grown(folder: Path) -> Tree:
    return {p.name: grown(p) for p in folder.iterdir()} if folder.is_dir() else folder.read_bytes()


@given(tree=st.dictionaries(NAMES, TREES, max_size=5))
def test_a_folder_survives_packing_and_unpacking(tmp_path_factory: pytest.TempPathFactory, tree: Tree) -> None:
    work = tmp_path_factory.mktemp("tree")
    plant(work / "in", tree)
    layout = Layout(work / "layout")
    packed = pack(work / "in", layout)
    folder = unpack_layer(layout, packed.descriptor, packed.diff_id, work / "layers", Bounds())
    assert grown(folder) == tree


def content(layout: Layout, digest: Digest) -> bytes:
    return (layout.root / "blobs" / "sha256" / digest.hex).read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plant(tmp_path / "in", {"usr": {"bin": {"python3.11": b"elf", "other": b"x"}}, "a" * 150: {"ü": b"1"}, "z": {}})
    (tmp_path / "in" / "lib").symlink_to("usr/lib")
    return tmp_path / "in"


def test_modes_times_and_owners_leave_no_trace(tmp_path: Path, folder: Path) -> None:
    layout = Layout(tmp_path / "layout")
    first = pack(folder, layout, executables=["usr/bin/python3*"])
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700)
            os.utime(path, (1, 1))
    assert pack(folder, layout, executables=["usr/bin/python3*"]) == first


def test_the_order_in_which_files_were_made_leaves_no_trace(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    packed = set()
    for number, names in enumerate((["a", "b", "a.b"], ["a.b", "b", "a"])):
        plant(tmp_path / str(number), {name: {"x": b"1"} for name in names})
        packed.add(pack(tmp_path / str(number), layout).diff_id)
    assert len(packed) == 1


def test_entries_are_normal(tmp_path: Path, folder: Path) -> None:
    layout = Layout(tmp_path / "layout")
    (folder / "usr" / "bin" / "other").chmod(0o4755)
    packed = pack(folder, layout, executables=["usr/bin/python3*"])
    raw = content(layout, packed.descriptor.digest)
    assert raw[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"  # RFC 1952: no name, time 0
    tar = gzip.decompress(raw)
    assert Digest.of(tar) == packed.diff_id
    with tarfile.open(fileobj=io.BytesIO(tar)) as members:
        modes = {member.name: member.mode for member in members}
    with tarfile.open(fileobj=io.BytesIO(tar)) as members:
        assert all(m.mtime == SOURCE_DATE_EPOCH and (m.uid, m.gid, m.uname) == (0, 0, "") for m in members)
    assert modes["usr/bin/python3.11"] == 0o755
    assert modes["usr/bin/other"] == 0o644
    assert modes["usr"] == 0o755
    assert list(modes) == sorted(modes, key=lambda name: [os.fsencode(part) for part in name.split("/")])


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")  # a socket's path may be 108 bytes long
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("s")
        with pytest.raises(ImageError, match="neither"):
            pack(tmp_path / "in", Layout(tmp_path / "layout"))


@pytest.mark.parametrize(
    ("name", "target", "inside"),
    [
        ("lib", "usr/lib", True),
        ("usr/lib/a", "../../etc/b", True),
        ("usr/lib/a", "./b//c", True),
        ("usr/lib/a", "../../../etc", False),
        ("a", "..", False),
        ("usr/a", "b/../../../c", False),
        ("a", "b/..", False),  # b may be a link to .
        ("usr/a", "../b/../c", False),
        ("usr/a", "../b/.", True),
        ("a", "/etc/passwd", False),
        ("a", "", False),
        ("a", "x" * 4096, False),
    ],
)
def test_links_stay_inside(name: str, target: str, inside: bool) -> None:
    if inside:
        assert inner_link(name, target) == target
    else:
        with pytest.raises(ImageError, match="leaves"):
            inner_link(name, target)
