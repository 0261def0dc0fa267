"""Component images, built on this machine into the store's layout.

A layer is cached under a key that covers all that decides about its bytes; its blob and its unpacked folder stand
under their own digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from veilbox.core.errors import MachineError, UsageError
from veilbox.oci.image import debian, definition
from veilbox.oci.image.compression import Compression
from veilbox.oci.image.layout import locked
from veilbox.oci.image.locks import Choice, Lock, distribution
from veilbox.oci.image.spec import INDEX_TYPE
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.wire import index_bytes
from veilbox.oci.image.workshop import BASE, Built, BuiltLayer, Progress, Workshop

__all__ = ["ARCHITECTURES", "Built", "BuiltLayer", "build", "foreign_tag", "index_tag", "new_lock", "stored_names"]

# For which machines there are wheels of everything, in Debian's words, which are OCI's too.
ARCHITECTURES = ("amd64", "arm64")


def build(
    store: ImageStore,
    names: Sequence[str],
    progress: Progress,
    *,
    choice: Choice = Choice.LOCKED,
    compression: Compression = Compression.GZIP,
    architectures: Sequence[str] = (),
) -> list[Built]:
    """Build images; what did not change is taken from the store without asking the network.

    Args:
        store: Where they go.
        names: Which; see `definition.image_names`.
        progress: Told about each step that takes time, as a line for people.
        choice: Which Debian packages: those of the lock, or what apt offers now.
        compression: Of layers.
        architectures: For which machines besides this one. If there are any, an index of each image over all its
            architectures is made too.

    Returns:
        One result for each name and architecture: this machine's in the order of names, then the others'.

    Raises:
        UsageError: There is no image of a name, or none for an architecture.
        MachineError: This machine lacks a program, the network, space, or packages that the lock names.
        ImageError: Something that arrived is not what it must be.
    """
    declared = {name: definition.image(name) for name in names}
    native = debian.host_architecture()
    foreign = tuple(_known(one) for one in dict.fromkeys(architectures) if one != native)
    store.prepare()
    with locked(store.root / ".build.lock"), _translated(store):
        store.sweep()
        ours = Workshop(store=store, progress=progress, choice=choice, compression=compression, architecture=native)
        built = [ours.image(name, image, name) for name, image in declared.items()]
        for architecture in foreign:
            theirs = Workshop(
                store=store,
                progress=progress,
                choice=choice,
                compression=compression,
                architecture=architecture,
                native=ours,
            )
            built += [theirs.image(name, image, foreign_tag(name, architecture)) for name, image in declared.items()]
        if architectures:
            _write_indexes(store, built)
    return built


def foreign_tag(name: str, architecture: str) -> str:
    """The layout's name for an image that is for other machines than this one."""
    return f"{name}-{architecture}"


def index_tag(name: str) -> str:
    """The layout's name for an image's index over all its architectures."""
    return f"{name}-index"


def stored_names(built: Sequence[Built], *, indexed: bool) -> tuple[str, ...]:
    """The layout's names for what `build` made: images, then their indexes if it was told architectures."""
    native = debian.host_architecture()
    images = [one.name if one.architecture == native else foreign_tag(one.name, one.architecture) for one in built]
    indexes = [index_tag(one.name) for one in built] if indexed else []
    return tuple(dict.fromkeys([*images, *indexes]))


def new_lock(store: ImageStore, architecture: str, progress: Progress) -> Lock:
    """What apt offers now for a base, as a lock; nothing is built.

    Args:
        store: For apt's lists.
        architecture: For which machines.
        progress: Told about each step that takes time.

    Raises:
        UsageError: There are no images for an architecture.
        MachineError: apt cannot resolve them.
    """
    layer = definition.layers()[BASE]
    if not isinstance(layer, definition.DebianLayer):
        raise TypeError(layer)
    store.prepare()
    with locked(store.root / ".build.lock"), _translated(store):
        apt = debian.Apt(store.cache / f"apt-{_known(architecture)}", architecture)
        progress(f"asking apt for the package lists ({architecture})")
        apt.update()
        return Lock.of(debian.resolve(apt, layer), distribution(), architecture)


def _known(architecture: str) -> str:
    if architecture not in ARCHITECTURES:
        raise UsageError("no images for this architecture", expected=" or ".join(ARCHITECTURES), actual=architecture)
    return architecture


def _write_indexes(store: ImageStore, built: Sequence[Built]) -> None:
    for name in dict.fromkeys(one.name for one in built):
        manifests = tuple(one.descriptor for one in built if one.name == name)
        index = store.layout.write(index_bytes(manifests), INDEX_TYPE)
        store.layout.tag(index_tag(name), index)


@contextmanager
def _translated(store: ImageStore) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MachineError(
            "images cannot be stored",
            where=str(error.filename or store.root),
            actual=error.strerror or str(error),
            advice="Make room, or set VEILBOX_HOME to a folder that you may write",
        ) from error
