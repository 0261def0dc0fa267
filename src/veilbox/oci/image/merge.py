"""An image's unpacked layers as one plain folder, for machines whose kernel refuses overlays.

Files become hard links where the file system allows it, so that a merged image costs folders and names, no content;
what overlayfs would show and what is here are the same. Why not fuse-overlayfs: docs/adr/0020.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import MachineError
from veilbox.oci.image.squash import chain_id
from veilbox.oci.image.unpack import publish, unfinished


def merged_digest(layers: Sequence[Path]) -> Digest:
    """Under which digest `merged` keeps a folder; lease it before, so that it is not collected meanwhile.

    Args:
        layers: Unpacked layers, bottom first.
    """
    return chain_id([Digest(f"sha256:{layer.name}") for layer in layers])


def merged(layers: Sequence[Path]) -> Path:
    """Lay unpacked layers over each other, unless that was done before.

    Args:
        layers: Folders of a store's unpacked layers, bottom first; at least one. None deletes files of others.

    Returns:
        The folder, in the same store.

    Raises:
        MachineError: There is no room, or the layers cannot be read.
    """
    store = layers[0].parents[1]  # LAYERS/sha256/DIGEST
    target = store / "chains" / merged_digest(layers).hex
    if target.is_dir():
        return target
    try:
        with unfinished(store) as root:
            for layer in layers:
                _lay(layer, root)
            publish(root, target)
    except OSError as error:
        raise MachineError(
            "an image's layers cannot be merged",
            where=str(error.filename or target),
            actual=error.strerror or str(error),
            advice="Make room in VEILBOX_HOME, or load the kernel's overlayfs",
        ) from error
    return target


def _lay(upper: Path, lower: Path) -> None:
    """Lay one folder over another that is ours: folders join, everything else replaces."""
    for source in sorted(upper.iterdir()):
        target = lower / source.name
        if source.is_symlink() or not source.is_dir():
            _remove(target)
            _link(source, target)
            continue
        if target.is_symlink() or not target.is_dir():
            _remove(target)
            target.mkdir()
            target.chmod(0o755)
        _lay(source, target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, too many links, or a file system without
        shutil.copy2(source, target, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
