"""Several processes pull into one store, some die at any moment, the collector runs between: what is left is whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from images import Sample, blob_names, image, leftovers, with_sbom

from veilbox.core.digest import Digest
from veilbox.oci.image.garbage import collect
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.store import ImageStore

_PULL = """
import os, signal, sys
from pathlib import Path
from veilbox.oci.image.garbage import collect
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.lease import lease
from veilbox.oci.image.store import ImageStore
from veilbox.oci.registry.local import LayoutPlace
from veilbox.oci.registry.transfer import contents, move, plan
import threading

origin, root, name, die_after = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
store, layout = ImageStore(Path(root)), Layout(Path(origin))
calls = 0

def count(*event):
    # Every change of a file's name or size is a moment at which this process may be killed.
    global calls
    if event[0] in {"open", "os.rename", "os.truncate", "os.remove", "fcntl.flock"}:
        calls += 1
        if die_after and calls >= die_after:
            os.kill(os.getpid(), signal.SIGKILL)

source = LayoutPlace(layout)
documents = plan(source, layout.resolve(name))
store.prepare()
if die_after:
    sys.addaudithook(count)
with lease(store.root) as held:
    held.add(contents(documents))
    descriptor = layout.resolve(name)
    to, quiet, stop = LayoutPlace(store.layout), lambda _: None, threading.Event()
    move(source, to, documents, descriptor, (name,), progress=quiet, cancelled=stop)
"""


def pulls(origin: Path, root: Path, names: Sequence[str], die_after: int = 0) -> list[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-c", _PULL, str(origin), str(root)]
    return [subprocess.Popen([*argv, name, str(die_after)], stderr=subprocess.PIPE) for name in names]


def ended(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    said = [process.communicate(timeout=60)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert all(code in {0, -9} for code in codes), said
    return codes


@pytest.fixture
def origin(tmp_path: Path) -> tuple[Layout, Sample]:
    layout = Layout(tmp_path / "origin")
    sample = with_sbom(image(layout, "one", seeds=(1, 2, 3), size=200_000))
    image(layout, "two", seeds=(1, 2, 4), size=200_000)
    return layout, sample


def is_sound(root: Path) -> bool:
    """No blob under a wrong name, whatever happened."""
    folder = root / "blobs" / "sha256"
    return all(Digest.of((folder / name).read_bytes()).hex == name for name in blob_names(root))


def test_parallel_pulls_with_the_collector_between(origin: tuple[Layout, Sample], tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    processes = pulls(origin[0].root, store.root, ["one", "two", "one", "two"])
    while any(process.poll() is None for process in processes):
        collect(store)
    assert ended(processes) == [0, 0, 0, 0]
    assert collect(store).blobs == ()
    assert blob_names(store.layout.root) == blob_names(origin[0].root)
    assert leftovers(store.layout.root) == []
    assert is_sound(store.layout.root)


@pytest.mark.parametrize("die_after", [1, 3, 6, 10, 15, 22, 30, 40])
def test_a_killed_pull_leaves_nothing_wrong(origin: tuple[Layout, Sample], tmp_path: Path, die_after: int) -> None:
    store = ImageStore(tmp_path / "store")
    assert ended(pulls(origin[0].root, store.root, ["one"], die_after)) == [-9]
    assert is_sound(store.layout.root)
    collect(store)
    for entry in store.layout.index():
        store.layout.read(entry)
    assert ended(pulls(origin[0].root, store.root, ["one"])) == [0]
    collect(store)
    assert store.layout.resolve("one") is not None
    assert leftovers(store.layout.root) == []
    assert len(store.layout.referrers(origin[1].manifest.digest)) == 1
    assert [*(store.root / "leases").iterdir()] == []
