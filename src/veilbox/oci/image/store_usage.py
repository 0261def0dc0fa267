"""What is in a store, as values: every named image with its parts and what each part costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.garbage import COMPANION, Reachable, unpacked_folders
from veilbox.oci.image.lease import uncollected
from veilbox.oci.image.spec import REF_NAME
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.usage import Share, disk_bytes, shares


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageUsage:
    """One image's bytes.

    Attributes:
        name: In the store.
        digest: Of its manifest or index.
        compressed: Of blobs.
        unpacked: On disk, of unpacked layers.
    """

    name: str
    digest: Digest
    compressed: Share
    unpacked: Share


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreUsage:
    """A store's bytes.

    Attributes:
        images: By name; what speaks of an image (signatures, SBOMs) is in the store's total alone.
        compressed: All blobs.
        unpacked: All unpacked layers, on disk.
        cache: What only makes builds faster, on disk.
        removable: Of both, what no image leads to; `gc` removes it unless it is in use.
        damaged: Images that cannot be read; their content counts as removable here, and `gc` refuses to work.
    """

    images: tuple[ImageUsage, ...]
    compressed: int
    unpacked: int
    cache: int
    removable: int
    damaged: tuple[str, ...]


def store_usage(store: ImageStore) -> StoreUsage:
    """Measure a store.

    Raises:
        ImageError: The index is damaged.
        MachineError: The store cannot be locked.
    """
    with uncollected(store.root):
        blobs = dict(store.layout.blobs())
        layers = {digest: disk_bytes(path) for digest, path in unpacked_folders(store)}
        contents = _contents(store)
        cache = disk_bytes(store.cache)
    compressed = shares({name: frozenset(part.blobs) for name, part in contents.images.items()}, blobs)
    unpacked = shares({name: frozenset(part.layers) for name, part in contents.images.items()}, layers)
    return StoreUsage(
        images=tuple(
            ImageUsage(name=name, digest=digest, compressed=compressed[name], unpacked=unpacked[name])
            for name, digest in sorted(contents.digests.items())
        ),
        compressed=sum(blobs.values()),
        unpacked=sum(layers.values()),
        cache=cache,
        removable=_other(blobs, contents.everything.blobs) + _other(layers, contents.everything.layers),
        damaged=tuple(contents.damaged),
    )


@dataclass(kw_only=True, slots=True)
class _Contents:
    images: dict[str, Reachable] = field(default_factory=dict)
    digests: dict[str, Digest] = field(default_factory=dict)
    everything: Reachable = field(default_factory=Reachable)
    damaged: list[str] = field(default_factory=list)


def _contents(store: ImageStore) -> _Contents:
    result = _Contents()
    for entry in store.layout.index():
        name, part = entry.annotations.get(REF_NAME, ""), Reachable()
        try:
            part.add(store, entry)
        except ImageError:
            result.damaged.append(name or entry.digest.text)
            continue
        result.everything.blobs |= part.blobs
        result.everything.layers |= part.layers
        if name and not COMPANION.fullmatch(name):
            result.images[name], result.digests[name] = part, entry.digest
    return result


def _other(sizes: Mapping[Digest, int], wanted: Collection[Digest]) -> int:
    return sum(size for digest, size in sizes.items() if digest not in wanted)
