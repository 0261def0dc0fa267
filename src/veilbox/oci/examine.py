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
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.admit import Trust, admit
from veilbox.oci.image.definition import image_names
from veilbox.oci.image.spec import CONFIG_TYPE, MANIFEST_TYPE, REF_NAME, Descriptor
from veilbox.oci.image.squash import unpack_image
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.unpack import Bounds
from veilbox.oci.image.wire import parse_artifact
from veilbox.oci.trust.endorse import Opened
from veilbox.oci.trust.evidence import read_evidence
from veilbox.oci.trust.verify import Admission, Image, check_content, check_signatures

_ARTIFACT_SUFFIXES = (".sig", ".att")


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


def held_images(store: ImageStore) -> tuple[str, ...]:
    """The names of all images that a store holds, sorted: components, and what was pulled or built for others.

    Raises:
        ImageError: The index or a manifest is damaged.
    """
    return tuple(
        sorted(
            entry.annotations[REF_NAME]
            for entry in store.layout.index()
            if not entry.annotations.get(REF_NAME, ".sig").endswith(_ARTIFACT_SUFFIXES) and _is_image(store, entry)
        )
    )


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
    admission = admit(store, name, trust=trust).admission if name in image_names() else _foreign(store, name, trust)
    image = Opened.of(store, name)
    for layer in image.manifest.layers:
        with store.layout.open(layer) as reader:
            reader.drain()
    if unpacked and name in image_names():
        _compare_unpacked(store, image)
    return Examined(name=name, manifest=image.manifest.digest, admission=admission)


def _is_image(store: ImageStore, entry: Descriptor) -> bool:
    if entry.media_type != MANIFEST_TYPE:
        return False  # an index: its images have names of their own
    return parse_artifact(store.layout.read(entry)).config.media_type == CONFIG_TYPE


def _foreign(store: ImageStore, name: str, trust: Trust) -> Admission:
    opened = Opened.of(store, name)
    subjects = frozenset({opened.manifest.digest})
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
