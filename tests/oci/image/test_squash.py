"""Layers that take files of others away: what is left is what the image-spec says, in whatever order entries come."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_unpack import Entry, entry, tar_of

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.compression import CompressedTar, Compression
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.image.squash import chain_id, unpack_image
from veilbox.oci.image.unpack import Bounds

Layers = list[list[Entry]]


def stored(layout: Layout, entries: list[Entry], compression: Compression) -> tuple[Descriptor, Digest]:
    with layout.incoming() as blob:
        compressed = CompressedTar(blob, compression)
        compressed.write(tar_of(entries))
        diff_id = compressed.finish()
    return Descriptor(media_type=compression.media_type, digest=blob.digest, size=blob.size), diff_id


def unpacked(work: Path, image: Layers) -> tuple[Path, ...]:
    layout = Layout(work / "layout")
    kinds = (Compression.GZIP, Compression.ZSTD)
    layers = [stored(layout, entries, kinds[number % 2]) for number, entries in enumerate(image)]
    return unpack_image(layout, layers, work / "layers", Bounds())


def files(folders: tuple[Path, ...]) -> dict[str, bytes]:
    """What overlayfs would show, links by their target."""
    shown: dict[str, bytes] = {}
    for folder in folders:
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink() or path.is_file():
                shown[name] = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
    return shown


BASE = [
    entry("a/b/c", data=b"1"),
    entry("a/x", data=b"2"),
    entry("z", data=b"3"),
    entry("l", tarfile.SYMTYPE, link="a"),
]
KEPT = {"a/b/c": b"1", "a/x": b"2", "z": b"3", "l": b"a"}


def without(*names: str) -> dict[str, bytes]:
    return {name: content for name, content in KEPT.items() if name not in names}


DELETIONS: list[tuple[str, list[Entry], Mapping[str, bytes]]] = [
    ("a file", [entry(".wh.z")], without("z")),
    ("a folder", [entry(".wh.a")], without("a/b/c", "a/x")),
    ("a link, not what it leads to", [entry(".wh.l")], without("l")),
    ("what is not there", [entry("a/.wh.nothing")], KEPT),
    ("nothing through a link", [entry("l/.wh.x")], KEPT),
    ("nothing through a link, opaque", [entry("l/.wh..wh..opq")], KEPT),
    ("opaque before its siblings", [entry("a/.wh..wh..opq"), entry("a/n", data=b"4")],
     {"z": b"3", "l": b"a", "a/n": b"4"}),
    ("opaque after its siblings", [entry("a/n", data=b"4"), entry("a/.wh..wh..opq")],
     {"z": b"3", "l": b"a", "a/n": b"4"}),
    ("opaque root", [entry("n", data=b"4"), entry(".wh..wh..opq")], {"n": b"4"}),
    ("own file before its whiteout", [entry("z", data=b"4"), entry(".wh.z")], without("z") | {"z": b"4"}),
    ("own file after its whiteout", [entry(".wh.z"), entry("z", data=b"4")], without("z") | {"z": b"4"}),
    ("own folder and its whiteout", [entry("a/n", data=b"4"), entry(".wh.a")],
     {"z": b"3", "l": b"a", "a/n": b"4"}),
    ("a folder for a link", [entry("l/n", data=b"4"), entry(".wh.z")], without("z", "l") | {"l/n": b"4"}),
    ("a link for a folder", [entry("a", tarfile.SYMTYPE, link="z"), entry(".wh.l")], {"z": b"3", "a": b"z"}),
]  # fmt: skip


@pytest.mark.parametrize(("upper", "expected"), [row[1:] for row in DELETIONS], ids=[row[0] for row in DELETIONS])
def test_deletions_mean_the_layers_below(tmp_path: Path, upper: list[Entry], expected: Mapping[str, bytes]) -> None:
    folders = unpacked(tmp_path, [BASE, upper])
    assert (len(folders), files(folders)) == (1, expected)
    assert {path.name for path in (tmp_path / "layers").iterdir()} == {"sha256", "chains"}
    assert not list((tmp_path / "layers" / "sha256").glob(".*"))


def test_layers_above_the_last_deletion_stay_shared(tmp_path: Path) -> None:
    image = [BASE, [entry(".wh.z")], [entry("top", data=b"5")]]
    folders = unpacked(tmp_path, image)
    assert [folder.parent.name for folder in folders] == ["chains", "sha256"]
    before = folders[0].stat().st_ino
    assert unpacked(tmp_path, image)[0].stat().st_ino == before
    assert files(folders) == without("z") | {"top": b"5"}


def test_layers_that_only_add_are_not_copied(tmp_path: Path) -> None:
    folders = unpacked(tmp_path, [BASE, [entry("top")]])
    assert [folder.parent.name for folder in folders] == ["sha256", "sha256"]


def test_a_chain_is_named_as_the_spec_says() -> None:
    one, two = Digest.of(b"1"), Digest.of(b"2")
    assert chain_id([one]) == one
    assert chain_id([one, two]) == Digest.of(f"{one} {two}".encode())


PATHS = st.sampled_from(
    ["a", "a/b", "a/b/c", "l", "l/x", ".wh.a", "a/.wh.b", "a/.wh..wh..opq", ".wh..wh..opq", "l/.wh.x"]
)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
TARGETS = st.sampled_from(["a", "..", "../..", "/", "b"])
ENTRIES = st.builds(Entry, PATHS, KINDS, TARGETS, st.just(0o644), st.just(b""))


@settings(max_examples=100)
@given(image=st.lists(st.lists(ENTRIES, max_size=5), min_size=1, max_size=4))
def test_no_layers_reach_out_of_their_folder(tmp_path_factory: pytest.TempPathFactory, image: Layers) -> None:
    work = tmp_path_factory.mktemp("chain")
    (work / "layers").mkdir()
    (work / "x").write_bytes(b"not theirs")
    try:
        unpacked(work, image)
    except ImageError:
        assert not list((work / "layers").glob("*/.unpacking*"))
    assert (work / "x").read_bytes() == b"not theirs"
    assert {path.name for path in work.iterdir()} == {"layers", "layout", "x"}


DELETING = st.sampled_from(["a", "b", "c"])


@given(lower=st.sets(DELETING), gone=st.sets(DELETING), added=st.sets(DELETING), order=st.randoms())
def test_order_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, lower: set[str], gone: set[str], added: set[str], order: st.DataObject
) -> None:
    upper = [entry(f".wh.{name}") for name in gone] + [entry(name, data=b"n") for name in added]
    order.shuffle(upper)  # type: ignore[attr-defined]
    folders = unpacked(tmp_path_factory.mktemp("order"), [[entry(name, data=b"o") for name in lower], upper])
    assert files(folders) == dict.fromkeys(lower - gone - added, b"o") | dict.fromkeys(added, b"n")
