"""Sign an image of the store and attest what is in it and how it came to be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

import veilbox
from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.lease import uncollected
from veilbox.oci.image.locks import Lock, LockBook
from veilbox.oci.image.spec import INDEX_TYPE, LOCK_LABEL, Descriptor, ImageConfig, Manifest
from veilbox.oci.image.squash import unpack_image
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.unpack import Bounds
from veilbox.oci.image.wire import parse_config, parse_manifest
from veilbox.oci.trust.contents import Contents, read_contents
from veilbox.oci.trust.dsse import Envelope, Statement, statement_bytes
from veilbox.oci.trust.evidence import add_attestations, add_referrer, add_signature, read_evidence
from veilbox.oci.trust.keys import PrivateKey, PublicKey
from veilbox.oci.trust.predicates import CYCLONEDX, SLSA, SPDX
from veilbox.oci.trust.provenance import provenance
from veilbox.oci.trust.sbom import CYCLONEDX_TYPE, SPDX_TYPE, cyclonedx, spdx
from veilbox.oci.trust.signature import LOCAL, SimpleSignature
from veilbox.oci.trust.store import TrustStore
from veilbox.oci.trust.verify import Evidence

# A lock's name comes from an image's label; it becomes a file name.
_LOCK_NAME = re.compile(r"[a-z]+-[a-z0-9.]+-[a-z0-9]+", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """An image of a store with everything of it that is small: its manifest and configuration."""

    name: str
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig

    @classmethod
    def of(cls, store: ImageStore, name: str) -> Opened:
        """Read an image.

        Raises:
            ImageError: It is missing or damaged.
        """
        descriptor = store.layout.resolve(name)
        if descriptor is None:
            raise ImageError("image is missing", where=name, advice="Build it with `veilbox image build`, or pull it")
        return cls.at(store, name, descriptor)

    @classmethod
    def at(cls, store: ImageStore, name: str, descriptor: Descriptor) -> Opened:
        """Read an image that has perhaps no name of its own.

        Raises:
            ImageError: It is missing or damaged.
        """
        manifest = parse_manifest(store.layout.read(descriptor))
        config = parse_config(store.layout.read(manifest.config))
        return cls(name=name, descriptor=descriptor, manifest=manifest, config=config)


def endorse_built(store: ImageStore, names: Sequence[str]) -> tuple[str, ...]:
    """Sign what was built here with the key of this machine; what it signed before stays as it is.

    Args:
        store: Where it is.
        names: Of images, for this machine and for others, and of indexes.

    Returns:
        What was signed now.

    Raises:
        ImageError: An image is missing or damaged.
        MachineError: The key cannot be read or stored.
    """
    trust = TrustStore(store.root / "trust")
    public = trust.local_public()
    waiting = [name for name in names if public is None or not _is_endorsed(store, name, public)]
    if waiting or not trust.policy_path.exists():
        key = trust.local_key()
        for name in waiting:
            sign(store, name, key, reference=local_reference(name), now=datetime.now(UTC))
    return tuple(waiting)


def sign(store: ImageStore, name: str, key: PrivateKey, *, reference: str, now: datetime) -> None:
    """Endorse an image, or sign an index.

    Args:
        store: Where it is.
        name: Its name there.
        key: Whose word it is.
        reference: The repository that is signed, without tag.
        now: With a time zone.

    Raises:
        ImageError: It is missing or damaged.
    """
    if not sign_index(store, name, key, reference=reference, now=now):
        endorse(store, Opened.of(store, name), key, reference=reference, now=now)


def _is_endorsed(store: ImageStore, name: str, public: PublicKey) -> bool:
    """Whether the key's word for an image is complete, or an index signed.

    Raises:
        ImageError: It is missing or damaged.
    """
    descriptor = store.layout.resolve(name)
    if descriptor is None or descriptor.media_type != INDEX_TYPE:
        return _endorsed(store, Opened.of(store, name), public)
    try:
        return _signed(
            read_evidence(store.layout, store.layout.index(), [descriptor.digest]), descriptor.digest, public
        )
    except ImageError:
        return False  # damaged: made anew


def _signed(evidence: Evidence, subject: Digest, public: PublicKey) -> bool:
    return any(one.signers((public,)) and one.claim().subject == subject for one in evidence.signatures)


def local_reference(name: str) -> str:
    """As which repository's an image of this machine is signed."""
    return f"{LOCAL}/{name}"


def endorse(store: ImageStore, image: Opened, key: PrivateKey, *, reference: str, now: datetime) -> None:
    """Sign an image, attest its SBOMs and its provenance, and put the SBOMs beside it for other tools.

    Args:
        store: Where it is, with its layers unpacked.
        image: The image.
        key: Whose word it is.
        reference: The repository that is signed, without tag.
        now: With a time zone.

    Raises:
        ImageError: Something in the image describes itself in a way that cannot be read.
    """
    with uncollected(store.root):  # a document has no name until the index lists it
        _endorse(store, image, key, reference, now)


def _endorse(store: ImageStore, image: Opened, key: PrivateKey, reference: str, now: datetime) -> None:
    layout, subject = store.layout, image.manifest.digest
    contents = contents_of(store, image)
    boms = ((CYCLONEDX_TYPE, CYCLONEDX, cyclonedx(contents), "cdx"), (SPDX_TYPE, SPDX, spdx(contents), "spdx"))
    for media_type, _, document, suffix in boms:
        add_referrer(layout, image.descriptor, media_type, document, f"{image.name}.{suffix}.json")
    statements = [
        *((kind, statement_bytes(reference, subject, kind, msgspec.Raw(document))) for _, kind, document, _ in boms),
        (SLSA, statement_bytes(reference, subject, SLSA, provenance(contents, image.manifest, image.config))),
    ]
    sealed = [(kind, Envelope.sealed(statement, key)) for kind, statement in statements]
    add_attestations(layout, subject, sealed, key.public)
    add_signature(
        layout, subject, SimpleSignature.made(subject, reference, key, creator=_creator(), now=now), key.public
    )


def sign_index(store: ImageStore, name: str, key: PrivateKey, *, reference: str, now: datetime) -> bool:
    """Sign an index over images of several architectures, if that is what a name stands for.

    What is in the images is attested of each of them; of the index only the signature is needed, by tools that verify
    what a tag stands for.

    Returns:
        Whether it is an index.
    """
    descriptor = store.layout.resolve(name)
    if descriptor is None or descriptor.media_type != INDEX_TYPE:
        return False
    with uncollected(store.root):
        signature = SimpleSignature.made(descriptor.digest, reference, key, creator=_creator(), now=now)
        add_signature(store.layout, descriptor.digest, signature, key.public)
    return True


def _creator() -> str:
    return f"veilbox {veilbox.__version__}"


def contents_of(store: ImageStore, image: Opened) -> Contents:
    """What is in an image; layers that are not unpacked yet (an image for other machines) are now.

    Raises:
        ImageError: A layer is damaged, or describes itself in a way that cannot be read.
    """
    if len(image.manifest.layers) != len(image.config.diff_ids):
        raise ImageError("configuration and manifest have different layers", where=image.name)
    layers = tuple(zip(image.manifest.layers, image.config.diff_ids, strict=True))
    folders = unpack_image(store.layout, layers, store.layers, Bounds())
    return read_contents(image.name, image.manifest, image.config, folders, _lock_of(store, image.config))


def _lock_of(store: ImageStore, config: ImageConfig) -> Lock | None:
    """The lock that an image was built by, if this machine has it."""
    name, _, digest = config.labels.get(LOCK_LABEL, "").partition("@")
    if _LOCK_NAME.fullmatch(name) is None:
        return None
    lock = LockBook(own=store.root / "lock").current(name)
    return lock if lock is not None and lock.digest.text == digest else None


def _endorsed(store: ImageStore, image: Opened, public: PublicKey) -> bool:
    """Whether the key's word for this image is complete."""
    subject = image.manifest.digest
    try:
        evidence = read_evidence(store.layout, store.layout.index(), [subject])
        signed = _signed(evidence, subject, public)
    except ImageError:
        return False  # damaged: made anew
    return signed and {CYCLONEDX, SPDX, SLSA} <= set(_attested(evidence.attestations, image, public))


def _attested(envelopes: Sequence[Envelope], image: Opened, public: PublicKey) -> Iterator[str]:
    for envelope in envelopes:
        if envelope.signers((public,)):
            statement = Statement.parse(envelope.payload)
            if image.manifest.digest in statement.subjects:
                yield statement.predicate_type
