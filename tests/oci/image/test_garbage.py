"""What may go and what must stay: under jobs, pulls, crashes and damaged images."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_images import Small, blob_path, small_image

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.garbage import collect
from veilbox.oci.image.lease import lease, leased, uncollected
from veilbox.oci.image.spec import EMPTY_TYPE, LAYER_TYPE, MANIFEST_TYPE, Descriptor
from veilbox.oci.image.squash import chain_id
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.store_usage import store_usage
from veilbox.oci.image.usage import Share, shares
from veilbox.oci.image.wire import artifact_bytes, manifest_bytes, parse_manifest


@pytest.fixture
def small(tmp_path: Path) -> Small:
    made = small_image(ImageStore(tmp_path / "store"), tmp_path / "trees")
    collect(made.store)  # signing twice leaves the first signature's manifest
    return made


def rubbish(store: ImageStore, content: bytes = b"rubbish") -> Digest:
    return store.layout.write(content, LAYER_TYPE).digest


def digests(store: ImageStore) -> set[Digest]:
    return {digest for digest, _ in store.layout.blobs()}


def test_what_an_image_needs_stays_and_the_rest_goes(small: Small) -> None:
    before = digests(small.store)
    gone = rubbish(small.store)
    assert collect(small.store, dry_run=True).blobs == (gone,)
    assert digests(small.store) == {*before, gone}
    collected = collect(small.store)
    assert (collected.blobs, collected.blob_bytes, collected.layers) == ((gone,), 7, ())
    assert digests(small.store) == before
    assert all(small.store.layer(packed.diff_id).is_dir() for packed in small.layers)
    assert collect(small.store).blobs == ()


def test_a_forgotten_image_goes_with_its_unpacked_layers(small: Small) -> None:
    assert small.store.layout.forget(small.name)
    assert not small.store.layout.forget(small.name)
    collected = collect(small.store)
    assert set(collected.layers) == {packed.diff_id for packed in small.layers}
    assert collected.layer_bytes > 0
    assert digests(small.store) == set()
    assert [*(small.store.layers / "sha256").iterdir()] == []


def test_merged_layers_stay_with_their_image(small: Small) -> None:
    chain = small.store.layers / "chains" / chain_id([packed.diff_id for packed in small.layers]).hex
    other = chain.with_name("0" * 64)
    for folder in (chain, other):
        folder.mkdir(parents=True)
    assert collect(small.store).layers == (Digest(f"sha256:{other.name}"),)
    assert chain.is_dir()
    assert not other.exists()


def test_what_speaks_of_an_image_stays_and_goes_with_it(small: Small) -> None:
    layout = small.store.layout
    empty, note = layout.write(b"{}", EMPTY_TYPE), layout.write(b"note", LAYER_TYPE)
    subject = small.manifest
    for _ in range(2):  # the second one speaks of the first
        raw = artifact_bytes("a/b", empty, (note,), subject=subject)
        referrer = replace(layout.write(raw, MANIFEST_TYPE), artifact_type="a/b")
        layout.attach(referrer, subject.digest)
        subject = referrer
    signature = layout.write(manifest_bytes(small_config(small), (note,), {}), MANIFEST_TYPE)
    layout.tag(f"sha256-{small.manifest.digest.hex}.att", signature)
    assert collect(small.store).blobs == ()
    layout.forget(small.name)
    collect(small.store)
    assert layout.index() == ()
    assert digests(small.store) == set()


def small_config(small: Small) -> Descriptor:
    return parse_manifest(small.store.layout.read(small.manifest)).config


def test_a_damaged_image_stops_the_collection(small: Small) -> None:
    gone = rubbish(small.store)
    blob_path(small.store, small.manifest.digest).write_bytes(b"{}")
    with pytest.raises(ImageError):
        collect(small.store)
    assert gone in digests(small.store)
    assert store_usage(small.store).damaged == (small.name,)


def test_what_is_leased_stays_until_the_lease_ends(small: Small) -> None:
    small.store.layout.forget(small.name)
    kept = {small.manifest.digest, *(packed.diff_id for packed in small.layers)}
    with lease(small.store.root) as held:
        held.add(kept)
        collected = collect(small.store)
        assert not kept & {*collected.blobs, *collected.layers}
        assert all(small.store.layer(packed.diff_id).is_dir() for packed in small.layers)
    assert set(collect(small.store).layers) == {packed.diff_id for packed in small.layers}


def test_what_speaks_of_an_image_on_its_way_stays(small: Small) -> None:
    """A pull lists signatures before the image has its name: a collection between must not lose them."""
    layout = small.store.layout
    layout.forget(small.name)
    raw = artifact_bytes("a/b", layout.write(b"{}", EMPTY_TYPE), (), subject=small.manifest)
    referrer = layout.write(raw, MANIFEST_TYPE)
    with lease(small.store.root) as held:
        held.add([small.manifest.digest, *(digest for digest, _ in layout.blobs())])
        layout.attach(referrer, small.manifest.digest)
        collect(small.store)
        layout.tag(small.name, small.manifest)
    collect(small.store)
    assert [one.digest for one in layout.referrers(small.manifest.digest)] == [referrer.digest]
    assert layout.resolve(f"sha256-{small.manifest.digest.hex}.sig") is not None


_HOLDER = """
import sys, time
from pathlib import Path
from veilbox.core.digest import Digest
from veilbox.oci.image.lease import lease
with lease(Path(sys.argv[1])) as held:
    held.add([Digest(sys.argv[2])])
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_holder_s_lease_ends_with_it(small: Small) -> None:
    kept = rubbish(small.store)
    argv = [sys.executable, "-c", _HOLDER, str(small.store.root), kept.text]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert collect(small.store).blobs == ()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert len([*(small.store.root / "leases").iterdir()]) == 1
    assert collect(small.store).blobs == (kept,)
    assert [*(small.store.root / "leases").iterdir()] == []


def test_nothing_is_collected_between_looking_and_leasing(small: Small) -> None:
    kept = rubbish(small.store)
    done = threading.Event()
    collected: list[Digest] = []

    def other() -> None:
        collected.extend(collect(small.store).blobs)
        done.set()

    with lease(small.store.root) as held:
        with uncollected(small.store.root):
            thread = threading.Thread(target=other)
            thread.start()
            assert not done.wait(0.1)  # it waits for us
            held.add_found([kept])
        thread.join()
        assert collected == []


def test_a_garbled_lease_keeps_what_can_be_read(small: Small) -> None:
    kept = rubbish(small.store)
    with lease(small.store.root) as held:
        held.add([kept])
        [path] = (small.store.root / "leases").iterdir()
        with path.open("ab") as file:
            file.write(b"\xff\xfe torn\n")
        assert leased(small.store.root) == {kept}


@pytest.mark.parametrize("stop_at", range(8))
def test_a_crash_at_any_removal_leaves_whole_images(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """Every call that removes something may be the last one; the next collection finishes the work."""
    small_image(small.store, tmp_path / "more", name="ingest")
    small.store.layout.forget("ingest")
    for number in range(3):
        rubbish(small.store, bytes([number]))
    count = 0

    class Crash(BaseException):
        pass

    def crashing(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count > stop_at:
                raise Crash
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", crashing(Path.unlink))
        patched.setattr(Path, "rename", crashing(Path.rename))
        patched.setattr(shutil, "rmtree", crashing(shutil.rmtree))
        with pytest.raises(Crash):
            collect(small.store)
    for packed in small.layers:
        small.store.layout.open(packed.descriptor).drain()
        assert (small.store.layer(packed.diff_id)).is_dir()
    collect(small.store)
    assert collect(small.store).blobs == ()
    assert {path.name for path in (small.store.layers / "sha256").iterdir()} == {
        packed.diff_id.hex for packed in small.layers
    }


def test_unfinished_blobs_of_the_living_stay(small: Small) -> None:
    with small.store.layout.incoming() as blob:
        blob.write(b"half")
        collect(small.store)
        small.store.sweep()
        blob.write(b" and half")
    assert blob.digest in digests(small.store)
    dead = small.store.layout.root / ".incoming" / "dead.part"
    dead.write_bytes(b"")
    small.store.sweep()
    assert dead.exists()  # another attempt may go on with it
    collect(small.store)
    assert not dead.exists()


def test_unfinished_layers_of_the_living_stay(small: Small) -> None:
    folder = small.store.layers / "sha256" / ".unpacking-x"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    small.store.sweep()
    assert folder.exists()
    os.close(descriptor)
    small.store.sweep()
    assert not folder.exists()


def test_shares() -> None:
    a, b, c = (Digest.of(name) for name in (b"a", b"b", b"c"))
    images = {"one": frozenset({a, b}), "two": frozenset({b, c}), "none": frozenset[Digest]()}
    assert shares(images, {a: 1, b: 10, c: 100}) == {
        "one": Share(unique=1, shared=10),
        "two": Share(unique=100, shared=10),
        "none": Share(unique=0, shared=0),
    }


def test_usage_of_a_store(small: Small) -> None:
    rubbish(small.store)
    small.store.layout.tag("again", small.manifest)
    usage = store_usage(small.store)
    assert [image.name for image in usage.images] == ["again", small.name]
    for image in usage.images:
        assert image.compressed.unique == image.unpacked.unique == 0
        assert 0 < image.compressed.shared < usage.compressed
        assert image.unpacked.shared == usage.unpacked > 0
    assert usage.removable == 7
