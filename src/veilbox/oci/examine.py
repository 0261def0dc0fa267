"""Look at every image of a store more closely than a job has time for: all clauses, every blob, every unpacked file.

Admission trusts what stands unpacked under its digest, because only verified layers get there. Here that is checked
again, byte by byte: a layer is unpacked anew beside the first and the two are compared.
"""

from __future__ import annotations

import filecmp
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.admit import Trust, admit
from veilbox.oci.image.definition import image_names
from veilbox.oci.image.garbage import COMPANION
from veilbox.oci.image.links import parse_links
from veilbox.oci.image.spec import CONFIG_TYPE, INDEX, INDEX_TYPE, REF_NAME, Descriptor
from veilbox.oci.image.squash import unpack_image
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.unpack import Bounds
from veilbox.oci.image.wire import parse_artifact
from veilbox.oci.trust.endorse import Opened
from veilbox.oci.trust.evidence import read_evidence, subjects_of
from veilbox.oci.trust.verify import Admission, Image, check_content, check_signatures


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What was found of one image.

    Attributes:
        name: Its name in the store.
        manifest: The digest of its manifest.
        admission: Why it is accepted.
    """

    name: str
    manifest: Digest
    admission: Admission


class Kind(StrEnum):
    """What a name in a store stands for."""

    COMPONENT = "component"
    IMAGE = "image"
    INDEX = "index"
    ARTIFACT = "artifact"
    DAMAGED = "damaged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One name that a store holds.

    Attributes:
        name: It.
        kind: What it stands for.
        descriptor: Of its manifest or index.
        layers: Blobs, bottom first; of an index or of what is damaged none.
    """

    name: str
    kind: Kind
    descriptor: Descriptor
    layers: tuple[Descriptor, ...]


def held(store: ImageStore) -> tuple[Held, ...]:
    """Everything that has a name in a store, sorted; what only speaks of another (a signature) is left out.

    Raises:
        ImageError: The index is damaged.
    """
    entries = [entry for entry in store.layout.index() if REF_NAME in entry.annotations]
    named = {entry.annotations[REF_NAME]: entry for entry in entries}
    return tuple(_held(store, name, entry) for name, entry in sorted(named.items()) if not COMPANION.fullmatch(name))


def held_images(store: ImageStore) -> tuple[str, ...]:
    """The names of all images that a store holds, sorted: components, and what was pulled or built for others.

    Raises:
        ImageError: The index is damaged.
    """
    return tuple(one.name for one in held(store) if one.kind is not Kind.ARTIFACT)


def _held(store: ImageStore, name: str, entry: Descriptor) -> Held:
    if entry.media_type == INDEX_TYPE:
        return Held(name=name, kind=Kind.INDEX, descriptor=entry, layers=())
    try:
        manifest = parse_artifact(store.layout.read(entry))
    except ImageError:  # admission says what is wrong with a component
        kind = Kind.COMPONENT if name in image_names() else Kind.DAMAGED
        return Held(name=name, kind=kind, descriptor=entry, layers=())
    kind = Kind.ARTIFACT
    if manifest.config.media_type == CONFIG_TYPE:
        kind = Kind.COMPONENT if name in image_names() else Kind.IMAGE
    return Held(name=name, kind=kind, descriptor=entry, layers=manifest.layers)


def examine(store: ImageStore, name: str, trust: Trust, *, unpacked: bool) -> Examined:
    """Verify an image with all its blobs.

    Args:
        store: Where it is.
        name: Its name there. A component is held to every clause; another image to those that do not ask whether it
            runs here.
        trust: By what it is judged.
        unpacked: Also compare every unpacked file with the layers.

    Raises:
        ImageError: It is refused, or something of it is damaged.
    """
    trust = replace(trust, remembers=False)
    root = store.layout.resolve(name)
    if root is not None and root.media_type == INDEX_TYPE:
        return _examined_index(store, name, root, trust)
    image = Opened.of(store, name)
    component = name in image_names()
    admission = admit(store, name, trust=trust).admission if component else _foreign(store, image, trust)
    _read_layers(store, image)
    if unpacked and component:
        _compare_unpacked(store, image)
    return Examined(name=name, manifest=image.manifest.digest, admission=admission)


def _examined_index(store: ImageStore, name: str, index: Descriptor, trust: Trust) -> Examined:
    """Every image of an index; a signature of the index vouches for each of them."""
    children = parse_links(store.layout.read(index), index.media_type).manifests
    if not children:
        raise ImageError("index of no images", where=name)
    admissions = []
    for child in children:
        image = Opened.at(store, name, replace(child, annotations={INDEX: index.digest.text}))
        admissions.append(_foreign(store, image, trust))
        _read_layers(store, image)
    return Examined(name=name, manifest=index.digest, admission=admissions[0])


def _read_layers(store: ImageStore, image: Opened) -> None:
    for layer in image.manifest.layers:
        with store.layout.open(layer) as reader:
            reader.drain()


def _foreign(store: ImageStore, opened: Opened, trust: Trust) -> Admission:
    name, subjects = opened.name, subjects_of(store.layout, opened.descriptor)
    evidence = read_evidence(store.layout, store.layout.index(), subjects)
    keys = check_signatures(name, opened.manifest, subjects, evidence, trust.policy, trust.now)
    image = Image(name=name, manifest=opened.manifest, config=opened.config, subjects=subjects)
    return check_content(image, evidence, keys, trust.policy, "")


def _compare_unpacked(store: ImageStore, image: Opened) -> None:
    layers = tuple(zip(image.manifest.layers, image.config.diff_ids, strict=True))
    here = unpack_image(store.layout, layers, store.layers, Bounds())
    with tempfile.TemporaryDirectory(dir=store.root, prefix=".examine-") as folder:
        again = unpack_image(store.layout, layers, Path(folder), Bounds())
        for ours, theirs in zip(here, again, strict=True):
            difference = next(_differences(ours, theirs), None)
            if difference is not None:
                raise ImageError(
                    "an unpacked layer is not what its blob says",
                    where=image.name,
                    actual=difference,
                    advice=f"Remove {ours} and build or pull the image again",
                )


def _differences(ours: Path, theirs: Path) -> Iterator[str]:
    """Relative paths at which two trees differ in names, kinds, modes, targets or bytes."""
    mine, other = ({path.name for path in tree.iterdir()} for tree in (ours, theirs))
    yield from sorted(mine ^ other)
    for name in sorted(mine & other):
        left, right = ours / name, theirs / name
        status = left.lstat()
        if status.st_mode != right.lstat().st_mode:
            yield name
        elif stat.S_ISDIR(status.st_mode):
            yield from (f"{name}/{inner}" for inner in _differences(left, right))
        elif stat.S_ISLNK(status.st_mode):
            if left.readlink() != right.readlink():
                yield name
        elif not filecmp.cmp(left, right, shallow=False):
            yield name
