"""A job's attestation: an in-toto Statement in a DSSE envelope, signed by the log's key.

Pure. The statement is made by who holds the key, out of entries that the log holds: it cannot say anything else.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from veilbox.audit.checkpoint import Signer, key_id
from veilbox.audit.entry import (
    AnyEntry,
    ImagesAdmitted,
    IsolationMeasured,
    JobAccepted,
    JobEnded,
    PolicyApplied,
    Released,
)

# in-toto attestation framework 1.0, spec/v1/statement.md and envelope.md.
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "urn:veilbox:anonymization:v1"


@dataclass(kw_only=True, slots=True)
class Told:
    """What the log was told of one job, as far as its attestation needs it."""

    facts: dict[str, object] = field(default_factory=dict)
    outputs: list[tuple[int, str]] = field(default_factory=list)
    ended: bool = False

    def take(self, entry: AnyEntry) -> None:
        """Remember what an appended entry says."""
        match entry:
            case JobAccepted():
                self.facts |= {"job": entry.job, "accepted": entry.time, "veilbox": entry.veilbox}
            case ImagesAdmitted():
                self.facts |= {"images": entry.images, "models": entry.models, "sboms": entry.sboms}
            case IsolationMeasured():
                self.facts["isolation"] = entry.levels
            case PolicyApplied():
                self.facts["policy"] = entry.digest
            case Released():
                self.outputs.append((entry.item, entry.digest))
            case JobEnded():
                self.facts |= {"outcome": entry.outcome, "ended": entry.time, "report": entry.report}
                self.ended = True


def envelope(told: Told, *, log: dict[str, object], signer: Signer) -> bytes:
    """The envelope's JSON.

    Args:
        told: A job that has ended and released something.
        log: Where the log vouches for it: origin, indices, checkpoint.
        signer: The log's key.
    """
    subject = [_subject(item, digest) for item, digest in told.outputs]
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": subject,
        "predicateType": PREDICATE_TYPE,
        "predicate": {**told.facts, "log": log},
    }
    body = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    signature = {
        "keyid": key_id(signer.name, signer.public).hex(),
        "sig": _base64(signer.sign(pre_authentication(body))),
    }
    return (
        json.dumps({"payload": _base64(body), "payloadType": PAYLOAD_TYPE, "signatures": [signature]}).encode() + b"\n"
    )


def pre_authentication(body: bytes) -> bytes:
    """The bytes that are signed (DSSE 1.0.2, protocol.md, "Signature definition")."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


def base64_hashes(hashes: Sequence[bytes]) -> list[str]:
    """Hashes as JSON carries them."""
    return [_base64(one) for one in hashes]


def _subject(item: int, digest: str) -> dict[str, object]:
    return {"name": f"item-{item}", "digest": {"sha256": digest.removeprefix("sha256:")}}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
