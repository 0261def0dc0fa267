"""An image's layers become the folders of an overlay.

Layers that only add are unpacked once each and shared. A layer may also take files of the layers below it away
(whiteouts); how overlayfs writes that down depends on the mount's privileges, so from the bottom to the topmost such
layer all become one folder here, named by the chain's digest. Source: OCI image-spec 1.1.1, layer.md "Whiteouts" and
config.md "Layer ChainID".
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.image.unpack import Bounds, DeletingLayer, Deletions, extract_blob, publish, unfinished, unpack_layer

Layers = Sequence[tuple[Descriptor, Digest]]


def unpack_image(layout: Layout, image: Layers, layers: Path, bounds: Bounds) -> tuple[Path, ...]:
    """Unpack what an image is made of, unless it is there already.

    Args:
        layout: Where the blobs are.
        image: Blob and diff id of each layer, bottom first.
        layers: The folder of unpacked layers. A squashed chain becomes `layers/chains/<chain id>`.
        bounds: What each layer may at most hold.

    Returns:
        Folders, bottom first; laid over each other they are the image.

    Raises:
        ImageError: A blob, tar or entry is not what it must be; nothing unfinished is left behind.
    """
    folders: list[Path] = []
    for number, (descriptor, diff_id) in enumerate(image):
        try:
            folders.append(unpack_layer(layout, descriptor, diff_id, layers, bounds))
        except DeletingLayer:
            folders = [_squash(layout, image[: number + 1], layers, bounds)]
    return tuple(folders)


def chain_id(diff_ids: Sequence[Digest]) -> Digest:
    """The name of layers laid over each other, bottom first; at least one."""
    return reduce(lambda below, diff_id: Digest.of(f"{below} {diff_id}".encode()), diff_ids)


def _squash(layout: Layout, image: Layers, layers: Path, bounds: Bounds) -> Path:
    target = layers / "chains" / chain_id([diff_id for _, diff_id in image]).hex
    if target.is_dir():
        return target
    with unfinished(layers) as root:
        for descriptor, diff_id in image:
            upper = root.parent / "upper"
            upper.mkdir(mode=0o755)
            deletions = extract_blob(layout, descriptor, diff_id, upper, bounds)
            delete(root, deletions)
            _merge(upper, root)
            shutil.rmtree(upper)
        publish(root, target)
    return target


def delete(root: Path, deletions: Deletions) -> None:
    """Take away what a layer deletes; what is not there is no error, and no link is followed.

    Args:
        root: The layers below, in one folder that nobody else writes.
        deletions: What to take away.
    """
    for name in sorted(deletions.opaque):
        folder = root / name
        if _is_inside(root, name) and _is_folder(folder):
            for child in list(folder.iterdir()):
                _remove(child)
    for name in sorted(deletions.paths):
        if _is_inside(root, name):
            _remove(root / name)


def _is_inside(root: Path, name: str) -> bool:
    """Whether the way to a name leads through folders alone."""
    parents = [root / parent for parent in Path(name).parents]
    return all(_is_folder(parent) for parent in parents)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _merge(upper: Path, lower: Path) -> None:
    """Lay one folder over another: folders join, everything else replaces."""
    for entry in sorted(os.scandir(upper), key=lambda entry: entry.name):
        target = lower / entry.name
        if entry.is_dir(follow_symlinks=False) and _is_folder(target):
            _merge(Path(entry.path), target)
            continue
        _remove(target)
        try:
            Path(entry.path).rename(target)
        except OSError as error:
            raise ImageError("layers cannot be laid over each other", where=entry.name) from error
