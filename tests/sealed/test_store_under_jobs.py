"""The image store under running jobs: the collector takes nothing that runs, and a kernel may refuse overlays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sealed_workshop import VEILBOX

from veilbox.oci.examine import held
from veilbox.oci.image.garbage import collect
from veilbox.oci.image.store import ImageStore

pytestmark = [pytest.mark.sealed, pytest.mark.usefixtures("sealed", "nothing_left")]

# Collects with every image forgotten, as soon as the first frame is through: `image gc` of another user of the machine.
WATCHED = """\
import subprocess, sys
from veilbox.cli.main import main
from veilbox.orchestrate.pod import Pod
ready = Pod.await_ready
def await_ready(pod):
    ready(pod)
    subprocess.run(sys.argv[1].split(), check=True, stdout=sys.stderr)
Pod.await_ready = await_ready
sys.exit(main(sys.argv[2:]))
"""

# A kernel without overlays: what mount(2) answers to the type.
REFUSED = """\
import errno, os, sys
from veilbox.cli.main import main
from veilbox.oci.runtime import syscalls
real = syscalls.mount
def mount(source, target, kind, flags, options=b""):
    if kind == b"overlay":
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), os.fsdecode(target))
    real(source, target, kind, flags, options)
syscalls.mount = mount
sys.exit(main(sys.argv[1:]))
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    """A copy of this machine's store whose index is its own; content is shared by hard links."""
    ours, copy = ImageStore.default(), ImageStore(tmp_path / "home")
    for part in ("layout/blobs", "layout/index.json", "layout/oci-layout", "layers/sha256", "trust"):
        source, target = ours.root / part, copy.root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, copy_function=_link)
        else:
            shutil.copy2(source, target)
    return copy


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # the store is on another file system
        shutil.copy2(source, target, follow_symlinks=False)


@pytest.fixture
def run(store: ImageStore, tmp_path: Path) -> Run:
    environment = os.environ | {"VEILBOX_HOME": str(store.root)}

    def job(program: str, *words: str | Path, film: Path) -> subprocess.CompletedProcess[str]:
        arguments: list[str | Path] = [
            "anonymize",
            film,
            "-o",
            tmp_path / "out.mp4",
            "--report",
            tmp_path / "report.json",
        ]
        return subprocess.run(
            [sys.executable, "-c", program, *words, *arguments],
            env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return job


def report(tmp_path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    return document


def unpacked(store: ImageStore) -> set[str]:
    return {path.name for path in (store.layers / "sha256").iterdir() if len(path.name) == 64}


def test_the_collector_removes_nothing_that_runs(run: Run, store: ImageStore, short_film: Path, tmp_path: Path) -> None:
    """Every image is forgotten and collected while their containers run; the job does not notice."""
    forgotten = " ".join(f"--forget {one.name}" for one in held(store))
    done = run(WATCHED, f"{VEILBOX} image gc {forgotten}", film=short_film)
    assert done.returncode == 0, done.stderr
    assert "removed" in done.stderr
    [output] = report(tmp_path)["outputs"]
    assert output["frames"] == 50
    ran = report(tmp_path)["components"]
    running = {component["image_digest"] for component in ran.values()}
    assert {digest.text for digest, _ in store.layout.blobs()} >= running
    assert all(store.layout.resolve(name) is None for name in ran)
    assert unpacked(store)
    collect(store)
    assert unpacked(store) == set()
    assert dict(store.layout.blobs()) == {}


def test_where_the_kernel_refuses_overlays_images_are_merged_and_it_is_said(
    run: Run, store: ImageStore, short_film: Path, tmp_path: Path
) -> None:
    done = run(REFUSED, film=short_film)
    assert done.returncode == 0, done.stderr
    first = report(tmp_path)
    assert first["outputs"][0]["frames"] == 50
    assert {component["root"] for component in first["components"].values()} == {"merged"}
    assert {component["isolation"]["level"] for component in first["components"].values()} == {4}
    chains = store.layers / "chains"
    made = {path.name: path.stat().st_ino for path in chains.iterdir()}
    assert 1 < len(made) <= len(first["components"])  # some images have the same layers
    (tmp_path / "out.mp4").unlink()
    assert run(REFUSED, film=short_film).returncode == 0
    assert {path.name: path.stat().st_ino for path in chains.iterdir()} == made
    collect(store)
    assert {path.name for path in chains.iterdir()} == made.keys()
