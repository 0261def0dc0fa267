from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.spec import MANIFEST_TYPE, REF_NAME, Descriptor

TYPE = "application/octet-stream"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def blob(layout: Layout, descriptor: Descriptor) -> Path:
    return layout.root / "blobs" / "sha256" / descriptor.digest.hex


def test_a_blob_is_read_as_it_was_written(layout: Layout) -> None:
    written = layout.write(b"content", TYPE)
    assert written == Descriptor(media_type=TYPE, digest=Digest.of(b"content"), size=7)
    assert layout.read(written) == b"content"
    assert layout.has(written)


def test_it_is_a_layout_to_others(layout: Layout) -> None:
    layout.tag("one", layout.write(b"{}", MANIFEST_TYPE))
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((layout.root / "index.json").read_bytes())["schemaVersion"] == 2


@pytest.mark.parametrize(
    "damaged", [b"contenu", b"conten", b"content.", b""], ids=["one bit flipped", "cut short", "one byte more", "empty"]
)
def test_a_damaged_blob_is_refused(layout: Layout, damaged: bytes) -> None:
    written = layout.write(b"content", TYPE)
    blob(layout, written).write_bytes(damaged)
    with pytest.raises(ImageError):
        layout.read(written)


def test_a_descriptor_with_the_wrong_size_is_refused(layout: Layout) -> None:
    written = layout.write(b"content", TYPE)
    for size in (0, 6, 8):
        with pytest.raises(ImageError, match="wrong size"):
            layout.read(replace(written, size=size))
    assert not layout.has(replace(written, size=6))


def test_a_missing_blob_says_so(layout: Layout) -> None:
    absent = Descriptor(media_type=TYPE, digest=Digest.of(b"absent"), size=6)
    assert not layout.has(absent)
    with pytest.raises(ImageError, match="missing"):
        layout.read(absent)


def test_a_document_of_unreasonable_size_is_not_read(layout: Layout) -> None:
    with pytest.raises(ImageError, match="too large"):
        layout.read(Descriptor(media_type=TYPE, digest=Digest.of(b""), size=1 << 40))


def test_a_failed_write_leaves_nothing(layout: Layout) -> None:
    def fail() -> None:
        with layout.incoming() as writer:
            writer.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path for path in layout.root.rglob("*") if path.is_file() and path.name != "oci-layout"] == []


def test_what_a_killed_writer_left_is_swept(layout: Layout) -> None:
    kept = layout.write(b"kept", TYPE)
    left = layout.root / ".incoming" / "tmpabc"
    left.write_bytes(b"half")
    layout.sweep()
    assert not left.exists()
    assert layout.read(kept) == b"kept"


def test_a_name_moves_from_manifest_to_manifest(layout: Layout) -> None:
    first, second = layout.write(b"1", MANIFEST_TYPE), layout.write(b"2", MANIFEST_TYPE)
    assert layout.resolve("name") is None
    layout.tag("name", first)
    layout.tag("other", first)
    layout.tag("name", second)
    found = layout.resolve("name")
    assert found is not None
    assert found.digest == second.digest
    assert len(layout.index()) == 2


def test_entries_of_others_stay_as_they_are(layout: Layout) -> None:
    written = layout.write(b"1", MANIFEST_TYPE)
    foreign = {"mediaType": "a/b", "digest": Digest.of(b"?").text, "size": 1, "artifactType": "c/d", "urls": ["e"]}
    index = {"schemaVersion": 2, "manifests": [foreign], "annotations": {"f": "g"}}
    (layout.root / "index.json").write_text(json.dumps(index))
    layout.tag("name", written)
    after = json.loads((layout.root / "index.json").read_bytes())
    assert foreign in after["manifests"]
    assert after["annotations"] == {"f": "g"}


def test_a_name_that_stands_twice_is_refused(layout: Layout) -> None:
    one = {"mediaType": MANIFEST_TYPE, "size": 1, "annotations": {REF_NAME: "name"}}
    layout.write(b"", TYPE)
    manifests = [one | {"digest": Digest.of(content).text} for content in (b"1", b"2")]
    (layout.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    with pytest.raises(ImageError, match="ambiguous"):
        layout.resolve("name")


def test_an_unreadable_index_is_not_overwritten(layout: Layout) -> None:
    written = layout.write(b"1", MANIFEST_TYPE)
    (layout.root / "index.json").write_bytes(b"{")
    with pytest.raises(ImageError):
        layout.tag("name", written)
    assert (layout.root / "index.json").read_bytes() == b"{"


def _tag_many(root: Path, writer: int) -> None:
    layout = Layout(root)
    for number in range(10):
        layout.tag(f"{writer}-{number}", layout.write(b"shared", MANIFEST_TYPE))


def test_parallel_writers_lose_nothing(layout: Layout) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_tag_many, args=(layout.root, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(layout.index()) == 30
