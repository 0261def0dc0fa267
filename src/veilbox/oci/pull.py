"""The way in for images from elsewhere: fetch, judge, unpack, and only then a name that jobs ask for.

An image that the trust policy refuses stays without a name: a good image of that name goes on working, and what was
fetched is collected with the garbage.
"""

from __future__ import annotations

import platform
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.admit import Trust
from veilbox.oci.image.definition import image_names
from veilbox.oci.image.garbage import COMPANION
from veilbox.oci.image.lease import Lease, lease
from veilbox.oci.image.links import unpacked_layers
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.image.squash import unpack_image
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.unpack import Bounds
from veilbox.oci.image.wire import parse_manifest
from veilbox.oci.models.admit import settle_model
from veilbox.oci.models.shelf import tagged
from veilbox.oci.registry.images import Connection, fetch, load
from veilbox.oci.registry.reference import Reference
from veilbox.oci.registry.transfer import Moved, Progress
from veilbox.oci.trust.evidence import read_evidence, subjects_of
from veilbox.oci.trust.store import TrustStore
from veilbox.oci.trust.verify import check_signatures

# What Linux calls processors -> what Go and the image-spec call them.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def pull(store: ImageStore, connection: Connection, reference: Reference, name: str, progress: Progress) -> Moved:
    """Bring an image from a registry into the store.

    Args:
        store: Where it goes.
        connection: To registries.
        reference: What to fetch.
        name: Its name in the store. A component's name makes the image the one that jobs use, so it must be one that
            the trust policy accepts; of an index it is the image for this machine. Other names only store.
        progress: Told of every blob.

    Raises:
        ImageError: It is not there, not what its digests say, or not trusted.
    """
    store.prepare()
    component = name in image_names()
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    with lease(store.root) as held:
        moved = fetch(store, connection, reference, progress, held, architecture=architecture if component else None)
        settle(store, moved.root, name, held)
    return moved


def load_archive(store: ImageStore, path: Path) -> dict[str, Digest]:
    """Bring the images of an archive into the store; components are judged as `pull` judges them.

    Args:
        store: Where they go.
        path: The archive.

    Returns:
        Digests of manifests and indexes, by name; what only speaks of them is left out.

    Raises:
        ImageError: It is no archive, or an image in it is not what its digests say, or not trusted. Images before it
            in alphabetical order are in the store.
    """
    store.prepare()
    with lease(store.root) as held:
        images = load(store, path, held)
        # What speaks of images first: they cannot be judged without it.
        for name in sorted(images, key=lambda one: (one in image_names() or tagged(one) is not None, one)):
            settle(store, images[name], name, held)
    return {name: one.digest for name, one in images.items() if not COMPANION.fullmatch(name)}


def trust_notes(store: ImageStore) -> dict[str, bytes]:
    """This machine's trust policy and its public keys, by file name, for an archive; never a private key.

    Raises:
        UsageError: The policy cannot be read.
    """
    policy = TrustStore(store.root / "trust").policy_path
    if not policy.is_file():
        return {}
    keys = [path for path in policy.parent.glob("*.pub") if b"PUBLIC KEY" in path.read_bytes()]
    return {path.name.lower(): path.read_bytes() for path in (policy, *keys)}


def settle(store: ImageStore, root: Descriptor, name: str, held: Lease) -> None:
    """Judge and unpack what is in the store without a name, if the name is a component's or a model's; then name it.

    Raises:
        ImageError: The trust policy refuses it, or it cannot be unpacked.
    """
    if tagged(name):
        settle_model(store, root, held, trust=Trust.of(store), tag=name)
        return
    if name in image_names():
        judge(store, root, name)
        _unpack(store, root, held)
    store.layout.tag(name, root)


def judge(store: ImageStore, root: Descriptor, name: str) -> None:
    """The clauses of admission that need no name and no content: rule, revocation, signatures, age.

    Raises:
        ImageError: A clause refuses the image.
    """
    trust = Trust.of(store)
    manifest = parse_manifest(store.layout.read(root))
    subjects = subjects_of(store.layout, root)
    evidence = read_evidence(store.layout, store.layout.index(), subjects)
    check_signatures(name, manifest, subjects, evidence, trust.policy, trust.now)


def _unpack(store: ImageStore, root: Descriptor, held: Lease) -> None:
    manifest = parse_manifest(store.layout.read(root))
    diff_ids = unpacked_layers(store.layout.read(manifest.config))
    if len(diff_ids) != len(manifest.layers):
        raise ImageError("configuration and manifest have different layers", where=root.digest.text)
    held.add(diff_ids)
    unpack_image(store.layout, tuple(zip(manifest.layers, diff_ids, strict=True)), store.layers, Bounds())
