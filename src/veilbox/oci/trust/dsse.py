"""Envelopes (DSSE 1.0) around in-toto Statements (v0.1 and v1): what attestations and bundles are made of.

Written by hand: it is one encoding and one JSON object, and `securesystemslib.dsse`, which the tests hold it to, tells
keys by a `keyid` that cosign leaves empty and loads them in a way that costs more than all of admission.
Source: secure-systems-lab/dsse, protocol.md and envelope.md; in-toto/attestation, spec v1.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.wire import canonical
from veilbox.oci.trust.keys import PrivateKey, PublicKey, strict_base64

ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
_STATEMENTS = (STATEMENT, "https://in-toto.io/Statement/v0.1")  # cosign 2 writes the latter

_MAX_SIGNATURES = 16


class _Signature(msgspec.Struct, frozen=True):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    payload: str
    payload_type: str = msgspec.field(name="payloadType")
    signatures: list[_Signature]


class _Subject(msgspec.Struct, frozen=True):
    digest: dict[str, str]
    name: str = ""


class _Statement(msgspec.Struct, frozen=True):
    type: str = msgspec.field(name="_type")
    subject: list[_Subject]
    predicate_type: str = msgspec.field(name="predicateType")
    predicate: msgspec.Raw = msgspec.Raw(b"{}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """Signed bytes and their signatures; nothing in it is to be believed before `signers` says by whom it is.

    Attributes:
        payload: The bytes.
        signatures: DER, in the envelope's order.
    """

    payload: bytes
    signatures: tuple[bytes, ...]

    @classmethod
    def parse(cls, raw: bytes) -> Envelope:
        """An envelope around an in-toto Statement.

        Raises:
            ImageError: The bytes are none.
        """
        envelope = _decoded(raw, _Envelope, "DSSE envelope")
        if envelope.payload_type != PAYLOAD_TYPE or not 0 < len(envelope.signatures) <= _MAX_SIGNATURES:
            raise ImageError("not an envelope of an in-toto Statement", actual=envelope.payload_type)
        return cls(
            payload=strict_base64(envelope.payload),
            signatures=tuple(strict_base64(signature.sig) for signature in envelope.signatures),
        )

    @classmethod
    def sealed(cls, payload: bytes, key: PrivateKey) -> Envelope:
        """Sign a Statement."""
        return cls(payload=payload, signatures=(key.sign(pae(PAYLOAD_TYPE, payload)),))

    @property
    def raw(self) -> bytes:
        """The envelope's JSON."""
        return canonical(
            {
                "payload": base64.b64encode(self.payload).decode("ascii"),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"keyid": "", "sig": base64.b64encode(one).decode("ascii")} for one in self.signatures],
            }
        )

    def signers(self, keys: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
        """Those of `keys` that signed it, each once."""
        message = pae(PAYLOAD_TYPE, self.payload)
        return tuple(key for key in keys if any(key.verifies(signature, message) for signature in self.signatures))


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """An in-toto Statement: something is claimed of something.

    Attributes:
        subjects: Digests of what it speaks of.
        predicate_type: What kind of claim, an address.
        predicate: The claim, JSON.
    """

    subjects: frozenset[Digest]
    predicate_type: str
    predicate: bytes

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """A Statement from an envelope's payload.

        Raises:
            ImageError: The bytes are none.
        """
        statement = _decoded(payload, _Statement, "in-toto Statement")
        if statement.type not in _STATEMENTS:
            raise ImageError("unknown in-toto Statement", expected=" or ".join(_STATEMENTS), actual=statement.type)
        subjects = (subject.digest.get("sha256", "") for subject in statement.subject)
        return cls(
            subjects=frozenset(Digest(f"sha256:{text}") for text in subjects),
            predicate_type=statement.predicate_type,
            predicate=bytes(statement.predicate),
        )


def statement_bytes(name: str, subject: Digest, predicate_type: str, predicate: Any) -> bytes:
    """A Statement's canonical bytes.

    Args:
        name: For people.
        subject: What it speaks of.
        predicate_type: What kind of claim.
        predicate: The claim, JSON values or raw JSON.
    """
    return canonical(
        {
            "_type": STATEMENT,
            "subject": [{"name": name, "digest": {"sha256": subject.hex}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: type and payload with their lengths (DSSE, "Pre-Authentication Encoding")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


_Wire = TypeVar("_Wire")


def _decoded(raw: bytes, kind: type[_Wire], what: str) -> _Wire:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError(f"not a {what}", actual=str(error)) from error
