"""All component images, built for real for this machine and for another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from veilbox.oci.image import debian, definition
from veilbox.oci.image.build import build, stored_names
from veilbox.oci.image.store import ImageStore
from veilbox.oci.trust.endorse import endorse_built

NAMES = definition.image_names()
SAID: list[str] = []
NATIVE = debian.host_architecture() if shutil.which("dpkg") else "amd64"
FOREIGN = "arm64" if NATIVE == "amd64" else "amd64"


def built_for_both(root: Path) -> ImageStore:
    """A store with every image for both machines, endorsed."""
    store = ImageStore(root)
    seed(store)
    built = build(store, NAMES, SAID.append, architectures=[FOREIGN])
    endorse_built(store, stored_names(built, indexed=True))
    return store


def seed(store: ImageStore) -> None:
    """Take over the layers that this machine has: the test of two places builds all of them from nothing.

    Not from a machine that follows a lock of its own, which no other place follows.
    """
    ours = ImageStore.default()
    if (ours.root / "lock").exists():
        return
    for part in ("layout/blobs", "layers/sha256", "cache/layers"):
        if (ours.root / part).is_dir():
            shutil.copytree(ours.root / part, store.root / part, symlinks=True, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # the store is on another file system
        shutil.copy2(source, target, follow_symlinks=False)
