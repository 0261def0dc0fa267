"""Removing what no image needs and nobody uses, at any time and under any crash.

The index is written first and content removed after it, each by one rename or unlink, so whatever a crash leaves
unfinished is only more garbage. An image that cannot be read stops the collection: what it needs is not known.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.oci.image.layout import locked
from veilbox.oci.image.lease import collecting, leased
from veilbox.oci.image.links import index_above, unpacked_layers, walk
from veilbox.oci.image.spec import CONFIG_TYPE, DIFF_ID, REF_NAME, SUBJECT, Descriptor
from veilbox.oci.image.squash import chain_id
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.usage import disk_bytes

_REMOVING = ".removing-"
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)

# Names that speak of a manifest by its digest: the referrers tag, and cosign's signatures, attestations and SBOMs.
COMPANION = re.compile(r"sha256-(?P<hex>[0-9a-f]{64})(?:\.(?:sig|att|sbom))?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What was removed, or would be.

    Attributes:
        blobs: Blobs, by digest.
        layers: Unpacked layers, by the digest of their tar.
        blob_bytes: Bytes of the blobs.
        layer_bytes: Bytes that the layers took on disk.
    """

    blobs: tuple[Digest, ...]
    layers: tuple[Digest, ...]
    blob_bytes: int
    layer_bytes: int


@dataclass
class Reachable:
    """What a store's index leads to.

    Attributes:
        blobs: Manifests, configurations and layers.
        layers: Unpacked layers, by the digest of their tar.
    """

    blobs: set[Digest] = field(default_factory=set)
    layers: set[Digest] = field(default_factory=set)

    def add(self, store: ImageStore, root: Descriptor) -> None:
        """Everything below a manifest or index.

        Raises:
            ImageError: A document is missing or damaged.
        """
        above = index_above(root)
        if above is not None:  # only the document: what it lists for other machines is not here
            self.blobs.add(above)
        for document, links in walk(store.layout, root):
            self.blobs |= {document.digest, *(blob.digest for blob in links.blobs)}
            for blob in links.blobs:
                if DIFF_ID in blob.annotations:  # a model's layer
                    self.layers.add(Digest(blob.annotations[DIFF_ID]))
                if blob.media_type == CONFIG_TYPE:
                    diff_ids = unpacked_layers(store.layout.read(blob))
                    # A layer stands under its own digest, layers that had to be merged under their chain's.
                    self.layers |= {*diff_ids, *(chain_id(diff_ids[:count]) for count in range(1, len(diff_ids) + 1))}


def reachable(store: ImageStore, used: frozenset[Digest] = frozenset()) -> tuple[Reachable, tuple[Descriptor, ...]]:
    """What the index leads to, and its entries that speak of nothing that is there any more.

    Args:
        store: The store.
        used: What living processes use: a pull lists what speaks of its image before the image has its name.

    Raises:
        ImageError: The index or a document is missing or damaged.
    """
    found = Reachable()
    waiting = list(store.layout.index())
    while ready := [entry for entry in waiting if _wanted(entry, found.blobs | used)]:
        waiting = [entry for entry in waiting if entry not in ready]  # before more becomes wanted by what is added
        for entry in ready:
            found.add(store, entry)
    return found, tuple(waiting)


def collect(store: ImageStore, *, dry_run: bool = False) -> Collected:
    """Remove blobs and unpacked layers that neither the index nor a living process needs.

    Waits for a build to end. Jobs and pulls go on meanwhile: what they use is leased.

    Args:
        store: The store.
        dry_run: Only say what would go.

    Raises:
        ImageError: The index or an image is damaged; nothing was removed.
    """
    store.prepare()
    with locked(store.root / ".build.lock"), collecting(store.root):
        used = leased(store.root)
        kept, stale = reachable(store, used)
        blobs = {digest: size for digest, size in store.layout.blobs() if digest not in kept.blobs | used}
        doomed = [(digest, path) for digest, path in unpacked_folders(store) if digest not in kept.layers | used]
        layer_bytes = sum(disk_bytes(path) for _, path in doomed)
        if not dry_run:
            _remove(store, stale, blobs, [path for _, path in doomed])
    return Collected(
        blobs=tuple(blobs),
        layers=tuple(digest for digest, _ in doomed),
        blob_bytes=sum(blobs.values()),
        layer_bytes=layer_bytes,
    )


def _remove(store: ImageStore, stale: tuple[Descriptor, ...], blobs: Iterable[Digest], layers: Iterable[Path]) -> None:
    for entry in stale:
        if REF_NAME in entry.annotations:
            store.layout.forget(entry.annotations[REF_NAME])
    unnamed = {entry.digest for entry in stale if REF_NAME not in entry.annotations}
    if unnamed:
        store.layout.detach(unnamed)
    for path in layers:
        _remove_tree(path)
    for digest in blobs:
        store.layout.remove(digest)
    store.layout.sweep(resumable=True)
    for left in store.layers.glob(f"*/{_REMOVING}*"):
        shutil.rmtree(left, ignore_errors=True)


def _wanted(entry: Descriptor, there: Collection[Digest]) -> bool:
    """Named entries are wanted; what speaks of another manifest is wanted with it."""
    name = entry.annotations.get(REF_NAME, "")
    companion = COMPANION.fullmatch(name)
    subject = f"sha256:{companion['hex']}" if companion else entry.annotations.get(SUBJECT) if not name else None
    return subject is None or Digest(subject) in there


def unpacked_folders(store: ImageStore) -> Iterator[tuple[Digest, Path]]:
    """Every unpacked layer and every merged chain of layers, by its digest."""
    for path in (*(store.layers / "sha256").glob("*"), *(store.layers / "chains").glob("*")):
        if _HEX.fullmatch(path.name):
            yield Digest(f"sha256:{path.name}"), path


def _remove_tree(path: Path) -> None:
    """A name that promises a whole layer never stands for half of one."""
    doomed = path.with_name(f"{_REMOVING}{secrets.token_hex(8)}")
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)
