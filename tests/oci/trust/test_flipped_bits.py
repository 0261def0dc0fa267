"""Any single flipped bit of anything that is signed is refused."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, UsageError
from veilbox.oci.image.spec import CONFIG_TYPE, LAYER_TYPE, TITLE, Descriptor, ImageConfig, Manifest, Platform
from veilbox.oci.image.wire import manifest_bytes, parse_manifest
from veilbox.oci.trust.dsse import Envelope, statement_bytes
from veilbox.oci.trust.keys import PrivateKey, PublicKey
from veilbox.oci.trust.policy import Attestation, Key, Rule, TrustPolicy
from veilbox.oci.trust.predicates import CYCLONEDX
from veilbox.oci.trust.signature import SIGN_PREDICATE, BundleSignature, SimpleSignature, parse_bundle
from veilbox.oci.trust.verify import Evidence, Image, check_content, check_signatures

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEY = PrivateKey.generate()
NAME = "ingest"


def descriptor(kind: str, content: bytes) -> Descriptor:
    return Descriptor(media_type=kind, digest=Digest.of(content), size=len(content))


MANIFEST = manifest_bytes(descriptor(CONFIG_TYPE, b"c"), (descriptor(LAYER_TYPE, b"l"),), {TITLE: f"veilbox {NAME}"})
SUBJECT = Digest.of(MANIFEST)
SIMPLE = SimpleSignature.made(SUBJECT, f"r/{NAME}", KEY, creator="t", now=NOW)
BUNDLE = Envelope.sealed(statement_bytes(NAME, SUBJECT, SIGN_PREDICATE, {}), KEY)
SBOM = Envelope.sealed(statement_bytes(NAME, SUBJECT, CYCLONEDX, {"components": [{"name": "xz"}]}), KEY)
POLICY = TrustPolicy(
    digest=Digest.of(b""),
    keys={"k": Key(name="k", public=KEY.public)},
    rules=(Rule(images=("*",), keys=("k",), attestations=frozenset({Attestation.SBOM})),),
)
CONFIG = ImageConfig(
    raw=b"", platform=Platform(architecture="amd64"), diff_ids=(), entrypoint=(), env=(), user=(1, 1), labels={}
)


def flipped(content: bytes, bit: int) -> bytes:
    bit %= 8 * len(content)
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def judge(manifest: Manifest, evidence: Evidence, policy: TrustPolicy = POLICY) -> None:
    subjects = frozenset({manifest.digest})
    keys = check_signatures(NAME, manifest, subjects, evidence, policy, NOW)
    check_content(Image(name=NAME, manifest=manifest, config=CONFIG, subjects=subjects), evidence, keys, policy, "")


def evidence(
    *, simple: SimpleSignature | None = SIMPLE, sbom: Envelope = SBOM, bundle: Envelope | None = None
) -> Evidence:
    signatures = [one for one in (simple, bundle and BundleSignature(envelope=bundle)) if one]
    return Evidence(signatures=tuple(signatures), attestations=(sbom,))


BITS = st.integers(min_value=0, max_value=1 << 20)


@pytest.mark.parametrize("given_evidence", [evidence(), evidence(simple=None, bundle=BUNDLE)], ids=["simple", "bundle"])
def test_unflipped_it_is_accepted(given_evidence: Evidence) -> None:
    judge(parse_manifest(MANIFEST), given_evidence)


@given(bit=BITS)
def test_a_bit_of_the_manifest(bit: int) -> None:
    for shown in (evidence(), evidence(simple=None, bundle=BUNDLE)):
        with pytest.raises(ImageError):
            judge(parse_manifest(flipped(MANIFEST, bit)), shown)


@given(bit=BITS)
def test_a_bit_of_the_payload(bit: int) -> None:
    with pytest.raises(ImageError, match="signature"):
        judge(parse_manifest(MANIFEST), evidence(simple=replace(SIMPLE, payload=flipped(SIMPLE.payload, bit))))


@given(bit=BITS)
def test_a_bit_of_the_signature(bit: int) -> None:
    encoded = base64.b64encode(flipped(base64.b64decode(SIMPLE.encoded), bit)).decode()
    with pytest.raises(ImageError, match="signature"):
        judge(parse_manifest(MANIFEST), evidence(simple=replace(SIMPLE, encoded=encoded)))


@given(bit=BITS)
def test_a_bit_of_the_signature_s_text(bit: int) -> None:
    encoded = flipped(SIMPLE.encoded.encode(), bit).decode("latin-1")
    with pytest.raises(ImageError, match="signature"):
        judge(parse_manifest(MANIFEST), evidence(simple=replace(SIMPLE, encoded=encoded)))


@given(bit=BITS)
def test_a_bit_of_a_bundle_s_statement_or_signature(bit: int) -> None:
    for changed in (
        replace(BUNDLE, payload=flipped(BUNDLE.payload, bit)),
        replace(BUNDLE, signatures=(flipped(BUNDLE.signatures[0], bit),)),
    ):
        with pytest.raises(ImageError, match="signature"):
            judge(parse_manifest(MANIFEST), evidence(simple=None, bundle=changed))


@given(bit=BITS)
def test_a_bit_of_an_attestation(bit: int) -> None:
    for changed in (
        replace(SBOM, payload=flipped(SBOM.payload, bit)),
        replace(SBOM, signatures=(flipped(SBOM.signatures[0], bit),)),
    ):
        with pytest.raises(ImageError, match="attestations"):
            judge(parse_manifest(MANIFEST), evidence(sbom=changed))


@given(bit=BITS)
def test_a_bit_of_the_public_key(bit: int) -> None:
    try:
        key = PublicKey(flipped(KEY.public.spki, bit))
    except UsageError:
        return  # no key any more
    policy = replace(POLICY, keys={"k": Key(name="k", public=key)})
    with pytest.raises(ImageError, match="signature"):
        judge(parse_manifest(MANIFEST), evidence(), policy)


@settings(max_examples=300)
@given(raw=st.binary(max_size=300) | st.from_regex(rb'\{"(payload|critical|mediaType)":[^\n]{0,80}\}', fullmatch=True))
def test_any_bytes_end_in_an_image_error(raw: bytes) -> None:
    for parse in (Envelope.parse, parse_bundle, lambda raw: SimpleSignature(payload=raw, encoded="").claim()):
        with pytest.raises(ImageError):
            parse(raw)
