"""Signatures of images in cosign's two forms: both are accepted, the first is written.

1. A "simple signing" payload, signed as it stands: a layer of the artifact that is tagged `sha256-<hex>.sig`.
2. A Sigstore bundle (cosign 3): an in-toto Statement in a DSSE envelope, in a referrer of the image.

Neither needs a transparency log or any other service. Source: cosign's SIGNATURE_SPEC.md and BUNDLE_SPEC.md,
containers/image's docs/containers-signature.5.md, and what cosign 2.5 and 3.1 wrote.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.wire import canonical
from veilbox.oci.trust.dsse import Envelope, Statement
from veilbox.oci.trust.keys import PrivateKey, PublicKey, strict_base64

SIMPLE_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"

# As which repository's this machine's own images are signed; a registry's copies are signed as the registry's.
LOCAL = "veilbox.local"

_TYPE = "cosign container image signature"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What a signature says; to be believed only if it is known who signed.

    Attributes:
        subject: The digest of the manifest.
        reference: The repository in which the signer saw it; empty if the form does not say.
        signed_at: When the signer says that it signed; None if it does not.
    """

    subject: Digest
    reference: str
    signed_at: datetime | None


class Signature(Protocol):
    """Either form."""

    def signers(self, keys: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
        """Those of `keys` that signed, each once.

        Raises:
            ImageError: It is no signature at all.
        """

    def claim(self) -> Claim:
        """What was signed.

        Raises:
            ImageError: It speaks of something else than an image.
        """


class _Image(msgspec.Struct, frozen=True):
    digest: str = msgspec.field(name="docker-manifest-digest")


class _Identity(msgspec.Struct, frozen=True):
    reference: str = msgspec.field(name="docker-reference")


class _Critical(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identity: _Identity
    image: _Image
    type: str


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    critical: _Critical
    optional: dict[str, Any] | None = None


class _Bundle(msgspec.Struct, frozen=True):
    media_type: str = msgspec.field(name="mediaType")
    envelope: msgspec.Raw = msgspec.field(name="dsseEnvelope")


@dataclass(frozen=True, kw_only=True, slots=True)
class SimpleSignature:
    """The first form.

    Attributes:
        payload: The very bytes that were signed.
        encoded: The signature in base64, as the annotation has it.
    """

    payload: bytes
    encoded: str

    @classmethod
    def made(cls, subject: Digest, reference: str, key: PrivateKey, *, creator: str, now: datetime) -> SimpleSignature:
        """Sign an image.

        Args:
            subject: The digest of its manifest.
            reference: In which repository; cosign shows it.
            key: Whose signature.
            creator: The program, for people.
            now: With a time zone; kept to the second.
        """
        payload = canonical(
            {
                "critical": {
                    "identity": {"docker-reference": reference},
                    "image": {"docker-manifest-digest": subject.text},
                    "type": _TYPE,
                },
                "optional": {"creator": creator, "timestamp": int(now.timestamp())},
            }
        )
        return cls(payload=payload, encoded=base64.b64encode(key.sign(payload)).decode("ascii"))

    def signers(self, keys: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
        """Those of `keys` that signed the payload."""
        signature = strict_base64(self.encoded)
        return tuple(key for key in keys if key.verifies(signature, self.payload))

    def claim(self) -> Claim:
        """What the payload says.

        Raises:
            ImageError: It is no image's.
        """
        try:
            payload = msgspec.json.decode(self.payload, type=_Payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ImageError("signed payload is not an image's", actual=str(error)) from error
        if payload.critical.type != _TYPE:
            raise ImageError("signed payload is not an image's", expected=_TYPE, actual=payload.critical.type)
        return Claim(
            subject=Digest(payload.critical.image.digest),
            reference=payload.critical.identity.reference,
            signed_at=_moment((payload.optional or {}).get("timestamp")),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleSignature:
    """The second form."""

    envelope: Envelope

    def signers(self, keys: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
        """Those of `keys` that signed the envelope."""
        return self.envelope.signers(keys)

    def claim(self) -> Claim:
        """What the Statement says; the form knows neither repository nor time.

        Raises:
            ImageError: It is no signature but another attestation, or speaks of several things.
        """
        statement = Statement.parse(self.envelope.payload)
        if statement.predicate_type != SIGN_PREDICATE or len(statement.subjects) != 1:
            raise ImageError("signed Statement is not an image's signature", actual=statement.predicate_type)
        return Claim(subject=next(iter(statement.subjects)), reference="", signed_at=None)


def parse_bundle(raw: bytes) -> Envelope:
    """The envelope in a Sigstore bundle; certificates and log entries in it are for others.

    Raises:
        ImageError: The bytes are no bundle with an envelope.
    """
    try:
        bundle = msgspec.json.decode(raw, type=_Bundle)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError("not a Sigstore bundle", actual=str(error)) from error
    if bundle.media_type != BUNDLE_TYPE:
        raise ImageError("not a Sigstore bundle", expected=BUNDLE_TYPE, actual=bundle.media_type)
    return Envelope.parse(bytes(bundle.envelope))


def bundle_bytes(envelope: Envelope, key: PublicKey) -> bytes:
    """A Sigstore bundle around an envelope, verified by a key that the verifier has."""
    return canonical(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {
                "publicKey": {"hint": base64.b64encode(bytes.fromhex(key.key_id.hex)).decode("ascii")}
            },
            "dsseEnvelope": msgspec.Raw(envelope.raw),
        }
    )


def _moment(timestamp: object) -> datetime | None:
    if not isinstance(timestamp, int) or isinstance(timestamp, bool):
        return None
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (OverflowError, ValueError, OSError):
        return None
