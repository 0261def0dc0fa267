from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from images import blob_names, image, index, leftovers, with_sbom, with_signature

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, OutputError, UsageError
from veilbox.oci.image.lease import lease
from veilbox.oci.image.spec import REF_NAME
from veilbox.oci.image.store import ImageStore
from veilbox.oci.pull import load_archive, trust_notes
from veilbox.oci.registry.archive import read_notes
from veilbox.oci.registry.images import load, save

Members = dict[str, bytes]


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    made = ImageStore(tmp_path / "store")
    made.prepare()
    return made


@pytest.fixture
def other(tmp_path: Path) -> ImageStore:
    made = ImageStore(tmp_path / "other")
    made.prepare()
    return made


def members(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return {entry.name: content.read() for entry in tar if (content := tar.extractfile(entry)) is not None}


def write(path: Path, content: Members, change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, raw in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            change(entry)
            tar.addfile(entry, io.BytesIO(raw))
    return path


def test_an_archive_holds_images_and_all_that_speaks_of_them(
    store: ImageStore, other: ImageStore, tmp_path: Path
) -> None:
    sample = with_sbom(image(store.layout, "one"))
    signature = with_signature(sample)
    both = index(store.layout, "both", sample, image(store.layout, "two", seeds=(1, 3)))
    size = save(store, ["one", "both"], {"policy.toml": b"version = 1"}, tmp_path / "a.tar")
    assert size == (tmp_path / "a.tar").stat().st_size
    images = load_archive(other, tmp_path / "a.tar")
    assert images == {"one": sample.manifest.digest, "both": both.digest}
    assert other.layout.resolve(signature) is not None
    assert [one.digest for one in other.layout.referrers(sample.manifest.digest)] == [
        sample.sbom and sample.sbom.digest
    ]
    assert blob_names(other.layout.root) == blob_names(store.layout.root)
    assert leftovers(other.layout.root) == []
    assert read_notes(tmp_path / "a.tar") == {"policy.toml": b"version = 1"}


def test_the_same_images_give_the_same_bytes(store: ImageStore, tmp_path: Path) -> None:
    with_signature(with_sbom(image(store.layout, "one")))
    for name in ("a.tar", "b.tar"):
        save(store, ["one"], {"n": b"1", "m": b"2"}, tmp_path / name)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_missing_image_and_a_damaged_one_leave_no_archive(store: ImageStore, tmp_path: Path) -> None:
    sample = image(store.layout, "one")
    with pytest.raises(ImageError, match="not in the store"):
        save(store, ["two"], {}, tmp_path / "a.tar")
    (store.layout.root / "blobs" / "sha256" / sample.layers[0].digest.hex).write_bytes(b"x" * sample.layers[0].size)
    with pytest.raises(ImageError, match="wrong content"):
        save(store, ["one"], {}, tmp_path / "a.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_archive_that_cannot_be_written(store: ImageStore, tmp_path: Path) -> None:
    image(store.layout, "one")
    with pytest.raises(OutputError, match="cannot be written"):
        save(store, ["one"], {}, tmp_path / "missing" / "a.tar")


def flipped(content: Members) -> Members:
    name = max(content, key=lambda one: len(content[one]))
    raw = content[name]
    return content | {name: raw[:-1] + bytes([raw[-1] ^ 1])}


def without(pattern: str) -> Callable[[Members], Members]:
    return lambda content: {name: raw for name, raw in content.items() if pattern not in name}


def another_subject(content: Members) -> Members:
    document = json.loads(content["index.json"])
    for entry in document["manifests"]:
        if "io.veilbox.subject" in entry.get("annotations", {}):
            entry["annotations"]["io.veilbox.subject"] = Digest.of(b"another").text
    return content | {"index.json": json.dumps(document).encode()}


def wrong_size(content: Members) -> Members:
    document = json.loads(content["index.json"])
    document["manifests"][0]["size"] += 1
    return content | {"index.json": json.dumps(document).encode()}


def renamed_blob(content: Members) -> Members:
    name = next(name for name in content if name.startswith("blobs/"))
    return {f"blobs/sha256/{'0' * 64}" if one == name else one: raw for one, raw in content.items()}


HOSTILE: dict[str, Callable[[Members], Members]] = {
    "one bit flipped": flipped,
    "a blob under another digest": renamed_blob,
    "no blobs": without("blobs/"),
    "no index": without("index.json"),
    "an index that is none": lambda content: content | {"index.json": b"[]"},
    "an index that is too large": lambda content: content | {"index.json": b" " * (5 << 20)},
    "a wrong size": wrong_size,
    "a referrer of another image": another_subject,
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_gives_no_names(
    store: ImageStore, other: ImageStore, tmp_path: Path, change: Callable[[Members], Members]
) -> None:
    with_sbom(image(store.layout, "one"))
    save(store, ["one"], {}, tmp_path / "a.tar")
    with pytest.raises(ImageError):
        load_archive(other, write(tmp_path / "b.tar", change(members(tmp_path / "a.tar"))))
    assert other.layout.index() == ()


@pytest.mark.parametrize(
    "name",
    ["../escape", "/etc/escape", "blobs/sha256/../../escape", "blobs/sha256/" + "g" * 64, "veilbox/../x", "link"],
)
def test_strange_names_touch_nothing(store: ImageStore, other: ImageStore, tmp_path: Path, name: str) -> None:
    image(store.layout, "one")
    save(store, ["one"], {}, tmp_path / "a.tar")
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(other.root)}
    archive = write(tmp_path / "a.tar", members(tmp_path / "a.tar") | {name: b"x"})
    load_archive(other, archive)
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(other.root)} == before
    assert "escape" not in {path.name for path in other.root.rglob("*")}
    assert read_notes(archive) == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_blob_that_is_no_file(store: ImageStore, other: ImageStore, tmp_path: Path, kind: bytes) -> None:
    image(store.layout, "one")
    save(store, ["one"], {}, tmp_path / "a.tar")

    def change(entry: tarfile.TarInfo) -> None:
        if entry.name.startswith("blobs/"):
            entry.type, entry.linkname, entry.size = kind, "/etc/passwd", 0

    with pytest.raises(ImageError):
        load_archive(other, write(tmp_path / "b.tar", members(tmp_path / "a.tar"), change))


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 1024, os.urandom(600)])
def test_what_is_no_archive(other: ImageStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ImageError, match="not an archive"):
        load_archive(other, tmp_path / "a.tar")
    with pytest.raises(UsageError, match="cannot be read"):
        load_archive(other, tmp_path / "missing.tar")


def test_a_truncated_archive(store: ImageStore, other: ImageStore, tmp_path: Path) -> None:
    image(store.layout, "one", size=30_000)
    save(store, ["one"], {}, tmp_path / "a.tar")
    raw = (tmp_path / "a.tar").read_bytes()
    for end in (len(raw) // 4, len(raw) // 2):
        (tmp_path / "b.tar").write_bytes(raw[:end])
        with pytest.raises(ImageError):
            load_archive(other, tmp_path / "b.tar")
    assert other.layout.index() == ()


def test_a_component_that_is_not_trusted_gets_no_name(store: ImageStore, other: ImageStore, tmp_path: Path) -> None:
    image(store.layout, "ingest")
    save(store, ["ingest"], {}, tmp_path / "a.tar")
    with pytest.raises(ImageError, match="refused by clause"):
        load_archive(other, tmp_path / "a.tar")
    assert other.layout.resolve("ingest") is None


def test_the_content_is_leased_until_it_has_a_name(store: ImageStore, other: ImageStore, tmp_path: Path) -> None:
    from veilbox.oci.image.garbage import collect  # noqa: PLC0415

    image(store.layout, "one")
    save(store, ["one"], {}, tmp_path / "a.tar")
    with lease(other.root) as held:
        images = load(other, tmp_path / "a.tar", held)
        assert collect(other).blobs == ()
    assert images["one"].annotations[REF_NAME] == "one"
    assert len(collect(other).blobs) == 4


def test_private_keys_stay_at_home(store: ImageStore) -> None:
    trust = store.root / "trust"
    trust.mkdir()
    assert trust_notes(store) == {}
    (trust / "policy.toml").write_text("version = 1\n")
    (trust / "local.pub").write_text("-----BEGIN PUBLIC KEY-----\n")
    for name in ("local.key", "seen.json"):
        (trust / name).write_text("secret")
    (trust / "disguised.pub").write_text("secret")
    assert set(trust_notes(store)) == {"policy.toml", "local.pub"}
