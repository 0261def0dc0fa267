from __future__ import annotations

import errno
import gzip
import io
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.spec import LAYER_TYPE, Descriptor
from veilbox.oci.image.unpack import Bounds, unpack_layer

BOUNDS = Bounds(entries=50, bytes=1 << 20)


def entry(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", mode: int = 0o644, data: bytes = b"") -> Entry:
    return Entry(name=name, kind=kind, link=link, mode=mode, data=data)


@dataclass(frozen=True)
class Entry:
    name: str
    kind: bytes
    link: str
    mode: int
    data: bytes
    pax: tuple[tuple[str, str], ...] = ()


def tar_of(entries: Sequence[Entry]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for one in entries:
            info = tarfile.TarInfo(one.name)
            info.type, info.linkname, info.mode, info.size = one.kind, one.link, one.mode, len(one.data)
            info.pax_headers = dict(one.pax)
            tar.addfile(info, io.BytesIO(one.data))
    return file.getvalue()


def store(layout: Layout, blob: bytes) -> Descriptor:
    return layout.write(blob, LAYER_TYPE)


def unpack(work: Path, tar: bytes, *, bounds: Bounds = BOUNDS) -> Path:
    layout = Layout(work / "layout")
    descriptor = store(layout, gzip.compress(tar, mtime=0))
    return unpack_layer(layout, descriptor, Digest.of(tar), work / "layers", bounds)


def left_behind(work: Path) -> list[Path]:
    return list((work / "layers").glob("sha256/*"))


def test_entries_become_files_that_everybody_may_read(tmp_path: Path) -> None:
    tar = tar_of(
        [
            entry("deep/er/file", data=b"1", mode=0o600),
            entry("program", data=b"2", mode=0o700),
            entry("link", tarfile.SYMTYPE, link="deep/er"),
            entry("again", tarfile.LNKTYPE, link="deep/er/file"),
        ]
    )
    folder = unpack(tmp_path, tar)
    modes = {path.relative_to(folder).as_posix(): path.lstat().st_mode & 0o7777 for path in folder.rglob("*")}
    assert modes == {"deep": 0o755, "deep/er": 0o755, "deep/er/file": 0o644, "program": 0o755, "link": 0o777} | {
        "again": 0o644
    }
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / "again").read_bytes() == b"1"


def test_a_layer_is_unpacked_once(tmp_path: Path) -> None:
    tar = tar_of([entry("file", data=b"1")])
    folder = unpack(tmp_path, tar)
    before = (folder / "file").stat().st_ino
    assert unpack(tmp_path, tar) == folder
    assert (folder / "file").stat().st_ino == before


HOSTILE: list[tuple[str, list[Entry]]] = [
    ("climbs", [entry("../x")]),
    ("climbs from inside", [entry("a/../../x")]),
    ("absolute", [entry("/etc/x")]),
    ("absolute link", [entry("l", tarfile.SYMTYPE, link="/etc/passwd")]),
    ("link out of the root", [entry("a/l", tarfile.SYMTYPE, link="../../x")]),
    ("climbs behind a link", [entry("a/b", tarfile.SYMTYPE, link="."), entry("c", tarfile.SYMTYPE, link="a/b/../..")]),
    ("empty link", [entry("l", tarfile.SYMTYPE, link="")]),
    ("write through a link", [entry("l", tarfile.SYMTYPE, link="d"), entry("d/x"), entry("l/y")]),
    ("folder over a link", [entry("l", tarfile.SYMTYPE, link="d"), entry("l", tarfile.DIRTYPE)]),
    ("file over a link", [entry("l", tarfile.SYMTYPE, link="d"), entry("l")]),
    ("write through a file", [entry("f"), entry("f/x")]),
    ("hard link out", [entry("h", tarfile.LNKTYPE, link="../../../etc/passwd")]),
    ("hard link absolute", [entry("h", tarfile.LNKTYPE, link="/etc/passwd")]),
    ("hard link to what is not there", [entry("h", tarfile.LNKTYPE, link="later"), entry("later")]),
    ("hard link to a link", [entry("l", tarfile.SYMTYPE, link="d"), entry("h", tarfile.LNKTYPE, link="l")]),
    ("hard link to a folder", [entry("d", tarfile.DIRTYPE), entry("h", tarfile.LNKTYPE, link="d")]),
    ("character device", [entry("c", tarfile.CHRTYPE)]),
    ("block device", [entry("b", tarfile.BLKTYPE)]),
    ("pipe", [entry("p", tarfile.FIFOTYPE)]),
    ("contiguous file", [entry("k", tarfile.CONTTYPE)]),
    ("unknown type", [entry("u", b"Q")]),
    ("set-user-id", [entry("s", mode=0o4755)]),
    ("set-group-id folder", [entry("s", tarfile.DIRTYPE, mode=0o2755)]),
    ("sticky folder", [entry("s", tarfile.DIRTYPE, mode=0o1777)]),
    ("twice", [entry("f"), entry("f")]),
    ("twice in two spellings", [entry("a/f"), entry("./a//f")]),
    ("whiteout on its own", [entry("d/.wh.x")]),
    ("opaque whiteout on its own", [entry("d/.wh..wh..opq")]),
    ("below a whiteout", [entry(".wh.d/x")]),
    ("whiteout of the folder itself", [entry("d/.wh..")]),
    ("whiteout of the folder above", [entry("d/.wh...")]),
    ("whiteout of nothing", [entry("d/.wh.")]),
    ("whiteout with content", [entry("d/.wh.x", data=b"1")]),
    ("whiteout that is a folder", [entry("d/.wh.x", tarfile.DIRTYPE)]),
    ("whiteout of a whiteout", [entry("d/.wh..wh.x")]),
    ("hard link to a whiteout", [entry("d/.wh.x"), entry("h", tarfile.LNKTYPE, link="d/.wh.x")]),
    ("two names in one case", [entry("d/Makefile"), entry("d/makefile")]),
    ("write through a link in another case", [entry("L", tarfile.SYMTYPE, link="d"), entry("l/x")]),
    ("two Unicode forms of one name", [entry("\u00e9"), entry("e\u0301")]),
    ("a ligature and its letters", [entry("\ufb01le"), entry("file")]),
    ("name that turns the direction of writing", [entry("a\u202egpj.sh")]),
    ("line feed in a name", [entry("a\nb")]),
    ("too deep", [entry("/".join("d" * 80))]),
    ("name too long", [entry("n" * 256)]),
    ("path too long", [entry("/".join(["n" * 200] * 30))]),
    ("too many entries", [entry(str(number)) for number in range(51)]),
    ("too many bytes", [entry("f", data=bytes(1 << 20)), entry("g", data=b"1")]),
    ("capabilities", [Entry("f", tarfile.REGTYPE, "", 0o644, b"", (("SCHILY.xattr.security.capability", "x"),))]),
]  # fmt: skip


@pytest.mark.parametrize("entries", [entries for _, entries in HOSTILE], ids=[name for name, _ in HOSTILE])
def test_hostile_entries_are_refused(tmp_path: Path, entries: list[Entry]) -> None:
    with pytest.raises(ImageError):
        unpack(tmp_path, tar_of(entries))
    assert left_behind(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"layers", "layout"}


def test_a_time_beyond_all_times_is_ignored(tmp_path: Path) -> None:
    tar = tar_of([Entry("f", tarfile.REGTYPE, "", 0o644, b"", (("mtime", "1e300"),))])
    assert (unpack(tmp_path, tar) / "f").exists()


def test_a_bomb_is_stopped_by_its_size(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="too large"):
        unpack(tmp_path, tar_of([]) + bytes(16 << 20))
    assert left_behind(tmp_path) == []


TAR = tar_of([entry("a/file", data=b"content" * 100), entry("l", tarfile.SYMTYPE, link="a")])
BLOB = gzip.compress(TAR, mtime=0)


DAMAGED = [
    ("another tar than the configuration's", BLOB, Digest.of(b"")),
    ("bytes after the gzip stream", BLOB + b"x", Digest.of(TAR)),
    ("a second gzip member", BLOB + gzip.compress(b""), Digest.of(TAR)),
    ("cut gzip", BLOB[:-9], Digest.of(TAR)),
    ("no gzip", TAR, Digest.of(TAR)),
    ("empty", b"", Digest.of(b"")),
    ("gzip of nothing", gzip.compress(b""), Digest.of(b"")),
    ("gzip of no tar", gzip.compress(b"text" * 500, mtime=0), Digest.of(b"text" * 500)),
    ("cut tar", gzip.compress(TAR[:1100], mtime=0), Digest.of(TAR[:1100])),
]


@pytest.mark.parametrize(("blob", "diff_id"), [row[1:] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_a_damaged_layer_is_refused(tmp_path: Path, blob: bytes, diff_id: Digest) -> None:
    layout = Layout(tmp_path / "layout")
    with pytest.raises(ImageError):
        unpack_layer(layout, store(layout, blob), diff_id, tmp_path / "layers", BOUNDS)
    assert left_behind(tmp_path) == []


def test_a_flipped_bit_in_the_stored_blob_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    descriptor = store(layout, BLOB)
    path = layout.root / "blobs" / "sha256" / descriptor.digest.hex
    path.write_bytes(BLOB[:4] + bytes([BLOB[4] ^ 1]) + BLOB[5:])  # in the header's time, which no tar depends on
    with pytest.raises(ImageError, match="wrong content"):
        unpack_layer(layout, descriptor, Digest.of(TAR), tmp_path / "layers", BOUNDS)
    assert left_behind(tmp_path) == []


def test_another_kind_of_layer_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    descriptor = layout.write(BLOB, "application/vnd.oci.image.layer.v1.tar")
    with pytest.raises(ImageError, match="kind of layer"):
        unpack_layer(layout, descriptor, Digest.of(TAR), tmp_path / "layers", BOUNDS)


NAMES = st.sampled_from(["a", "b", "a/b", "a/b/c", "../a", "/a", "./b", "a/..", ".", ".wh.a", "\u00e4", "a\n"])
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
TARGETS = st.sampled_from(
    ["a", "b", "..", "../..", "/", "a/b", ".", "../../outside", "a/..", "a/b/..", "a/b/../..", "../a", "b/../a/.."]
)


def ends_inside(path: Path, folder: Path) -> bool:
    """Whether a path leads nowhere else, asked of the kernel; where that refuses (a link to itself), nobody gets on.

    What does not exist is asked of realpath(), which stops at a link to itself.
    """
    try:
        descriptor = os.open(path, os.O_PATH)
    except OSError as error:
        return error.errno == errno.ELOOP or Path(os.path.realpath(path)).is_relative_to(folder)
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(folder)
    finally:
        os.close(descriptor)


@settings(max_examples=150)
@given(entries=st.lists(st.builds(Entry, NAMES, KINDS, TARGETS, st.just(0o644), st.just(b"x")), max_size=8))
def test_no_order_of_entries_escapes(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    work = tmp_path_factory.mktemp("hostile")
    sized = [one if one.kind == tarfile.REGTYPE else Entry(one.name, one.kind, one.link, 0o644, b"") for one in entries]
    try:
        folder = unpack(work, tar_of(sized))
    except ImageError:
        assert left_behind(work) == []
    else:
        assert all(ends_inside(path, folder) for path in folder.rglob("*"))
    assert {path.name for path in work.iterdir()} <= {"layers", "layout"}


@settings(max_examples=150)
@given(place=st.integers(0, len(TAR) - 1), value=st.integers(0, 255))
def test_a_changed_byte_gives_files_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    work = tmp_path_factory.mktemp("mutated")
    mutated = TAR[:place] + bytes([value]) + TAR[place + 1 :]
    try:
        unpack(work, mutated)
    except ImageError:
        assert left_behind(work) == []
