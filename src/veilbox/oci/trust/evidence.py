"""Evidence in an image layout: where signatures and attestations are found, and how they are added.

As in a registry: signatures under cosign's tag `sha256-<hex>.sig`, attestations under `sha256-<hex>.att`, bundles and
SBOMs as referrers. Source: cosign's SIGNATURE_SPEC.md and ATTESTATION_SPEC.md; distribution-spec 1.1, "Referrers".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.links import index_above, parse_links
from veilbox.oci.image.spec import (
    CONFIG_TYPE,
    EMPTY_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    REF_NAME,
    SUBJECT,
    TITLE,
    Descriptor,
)
from veilbox.oci.image.wire import artifact_bytes, canonical, parse_artifact
from veilbox.oci.trust.dsse import ENVELOPE_TYPE, Envelope
from veilbox.oci.trust.keys import PublicKey
from veilbox.oci.trust.signature import (
    BUNDLE_TYPE,
    SIGNATURE,
    SIMPLE_TYPE,
    BundleSignature,
    Signature,
    SimpleSignature,
    parse_bundle,
)
from veilbox.oci.trust.verify import Evidence

PREDICATE_TYPE = "predicateType"  # cosign's annotation on an attestation's layer

# A payload is some 300 bytes, an SBOM some 100 kB. Whoever may write beside an image must not make us read for ever.
_MAX_BLOB_BYTES = 16 << 20
_MAX_BLOBS = 64


def signature_tag(subject: Digest) -> str:
    """Where cosign puts the signatures of a manifest."""
    return f"sha256-{subject.hex}.sig"


def attestation_tag(subject: Digest) -> str:
    """Where cosign puts the attestations of a manifest."""
    return f"sha256-{subject.hex}.att"


def subjects_of(layout: Layout, entry: Descriptor) -> frozenset[Digest]:
    """What a signature of an image may speak of: its manifest, or the index through which it was pulled.

    Who signs a tag that stands for an index, as cosign does without `--recursive`, signs the index alone. It names its
    manifests by digest, so its signer vouches for each.

    Args:
        layout: Where both are.
        entry: The manifest's entry in the layout's index.

    Raises:
        ImageError: The index is here and damaged.
    """
    above = index_above(entry)
    index = None if above is None else layout.held(above, INDEX_TYPE)
    if index is None:
        return frozenset({entry.digest})
    listed = {one.digest for one in parse_links(layout.read(index), INDEX_TYPE).manifests}
    return frozenset({entry.digest, index.digest} if entry.digest in listed else {entry.digest})


def read_evidence(layout: Layout, entries: Iterable[Descriptor], subjects: Iterable[Digest]) -> Evidence:
    """Everything that lies beside a manifest (or the index that lists it).

    Args:
        layout: Where blobs are.
        entries: The layout's index, read once.
        subjects: Digests to look for.

    Raises:
        ImageError: Something that the index lists is not there or not what its digest says. What is whole and makes
            no sense is left out: anybody may have put it there.
    """
    wanted = frozenset(subjects)
    tags = {tag(subject) for subject in wanted for tag in (signature_tag, attestation_tag)}
    signatures: list[Signature] = []
    attestations: list[Envelope] = []
    for entry in entries:
        named = entry.annotations.get(REF_NAME, "") in tags
        if named or (entry.artifact_type == BUNDLE_TYPE and entry.annotations.get(SUBJECT) in _texts(wanted)):
            found = list(_blobs(layout, entry))
            signatures.extend(_signatures(found))
            inside = list(_envelopes(found))
            attestations.extend(inside)
            if not named:  # a bundle holds either, and does not say which before it is believed
                signatures.extend(BundleSignature(envelope=envelope) for envelope in inside)
    return Evidence(signatures=tuple(signatures), attestations=tuple(attestations))


def add_signature(layout: Layout, subject: Digest, signature: SimpleSignature, key: PublicKey) -> None:
    """Put a signature beside a manifest, after those that are there.

    Args:
        layout: Where the manifest is.
        subject: Its digest.
        signature: The signature.
        key: Whose it is; what the same key signed before as the same repository's goes.
    """
    blob = replace(layout.write(signature.payload, SIMPLE_TYPE), annotations={SIGNATURE: signature.encoded})
    repository = signature.claim().reference
    kept = [one for one in _layers(layout, signature_tag(subject)) if not _replaced(layout, one, key, repository)]
    _retag(layout, signature_tag(subject), (*kept, blob))


def _replaced(layout: Layout, layer: Descriptor, key: PublicKey, repository: str) -> bool:
    try:
        found = SimpleSignature(payload=_content(layout, layer), encoded=layer.annotations.get(SIGNATURE, ""))
        return bool(found.signers((key,))) and found.claim().reference == repository
    except ImageError:
        return True  # no signature, or a damaged one


def add_attestations(
    layout: Layout, subject: Digest, attestations: Iterable[tuple[str, Envelope]], key: PublicKey
) -> None:
    """Put attestations beside a manifest.

    Args:
        layout: Where the manifest is.
        subject: Its digest.
        attestations: Each with the type of its predicate.
        key: Whose they are; all that the same key attested before goes.
    """
    made = tuple(
        replace(layout.write(envelope.raw, ENVELOPE_TYPE), annotations={SIGNATURE: "", PREDICATE_TYPE: predicate_type})
        for predicate_type, envelope in attestations
    )
    kept = [one for one in _layers(layout, attestation_tag(subject)) if not _attested_by(layout, one, key)]
    _retag(layout, attestation_tag(subject), (*kept, *made))


def _attested_by(layout: Layout, layer: Descriptor, key: PublicKey) -> bool:
    try:
        return bool(Envelope.parse(_content(layout, layer)).signers((key,)))
    except ImageError:
        return True  # no attestation, or a damaged one


def add_referrer(layout: Layout, subject: Descriptor, artifact_type: str, content: bytes, title: str) -> Descriptor:
    """Put a document beside a manifest as its referrer, in place of others of the type that veilbox put there.

    Args:
        layout: Where the manifest is.
        subject: The manifest.
        artifact_type: The document's media type, and the artifact's.
        content: The document.
        title: A file name for people who download it.
    """
    empty = layout.write(b"{}", EMPTY_TYPE)
    blob = replace(layout.write(content, artifact_type), annotations={TITLE: title})
    raw = artifact_bytes(artifact_type, empty, (blob,), subject=subject)
    manifest = replace(layout.write(raw, MANIFEST_TYPE), artifact_type=artifact_type)
    old = {
        one.digest
        for one in layout.referrers(subject.digest)
        if one.artifact_type == artifact_type and one.digest != manifest.digest and _titled(layout, one, title)
    }
    layout.detach(old)
    layout.attach(manifest, subject.digest)
    return manifest


def _titled(layout: Layout, referrer: Descriptor, title: str) -> bool:
    try:
        layers = parse_artifact(layout.read(referrer)).layers
    except ImageError:
        return True  # damaged: nobody will miss it
    return bool(layers) and layers[0].annotations.get(TITLE) == title


def read_referrer(layout: Layout, subject: Digest, artifact_type: str) -> bytes | None:
    """The first document of a type that a layout lists beside a manifest, or None.

    Raises:
        ImageError: It is listed, and it or its content is missing or damaged.
    """
    for entry in layout.referrers(subject):
        if entry.artifact_type == artifact_type:
            manifest = parse_artifact(layout.read(entry))
            if manifest.subject is not None and manifest.subject.digest == subject and manifest.layers:
                return _content(layout, manifest.layers[0])
    return None


def _blobs(layout: Layout, entry: Descriptor) -> Iterator[tuple[Descriptor, bytes]]:
    manifest = parse_artifact(layout.read(entry))
    if len(manifest.layers) > _MAX_BLOBS:
        raise ImageError("too much evidence", where=entry.digest.text, expected=f"at most {_MAX_BLOBS} pieces")
    for layer in manifest.layers:
        if layer.media_type in {SIMPLE_TYPE, ENVELOPE_TYPE, BUNDLE_TYPE}:
            yield layer, _content(layout, layer)


def _content(layout: Layout, layer: Descriptor) -> bytes:
    if layer.size > _MAX_BLOB_BYTES:
        raise ImageError("evidence is too large", where=layer.digest.text, actual=f"{layer.size} bytes")
    with layout.open(layer) as reader:
        content = reader.read()
        reader.drain()
    return content


def _signatures(found: Iterable[tuple[Descriptor, bytes]]) -> Iterator[SimpleSignature]:
    for layer, content in found:
        if layer.media_type == SIMPLE_TYPE:
            yield SimpleSignature(payload=content, encoded=layer.annotations.get(SIGNATURE, ""))


def _envelopes(found: Iterable[tuple[Descriptor, bytes]]) -> Iterator[Envelope]:
    parsers = {ENVELOPE_TYPE: Envelope.parse, BUNDLE_TYPE: parse_bundle}
    for layer, content in found:
        if layer.media_type in parsers:
            try:
                yield parsers[layer.media_type](content)
            except ImageError:
                continue


def _layers(layout: Layout, tag: str) -> tuple[Descriptor, ...]:
    entry = layout.resolve(tag)
    try:
        return () if entry is None else parse_artifact(layout.read(entry)).layers
    except ImageError:
        return ()  # damaged: what it listed is lost


def _retag(layout: Layout, tag: str, layers: tuple[Descriptor, ...]) -> None:
    """An artifact as cosign makes them: an image without platform whose layers are the pieces."""
    config = layout.write(
        canonical(
            {
                "architecture": "",
                "os": "",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [layer.digest.text for layer in layers]},
            }
        ),
        CONFIG_TYPE,
    )
    layout.tag(tag, layout.write(artifact_bytes("", config, layers), MANIFEST_TYPE))


def _texts(digests: Iterable[Digest]) -> frozenset[str]:
    return frozenset(digest.text for digest in digests)
