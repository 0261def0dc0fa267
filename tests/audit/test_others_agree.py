"""What we sign and prove, checked by libraries that we did not write.

sigstore keeps its note parser and proof check in private modules; there is no public package for either.
"""

from __future__ import annotations

import base64
import json
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from log_workshop import KEY, PUBLIC, Disk, line, log_on
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError as EnvelopeError
from securesystemslib.signer._key import SSlibKey
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import SignedCheckpoint
from sigstore._internal.trust import Keyring, RekorKeyring
from sigstore._utils import KeyID
from sigstore.dsse import Statement
from sigstore.errors import VerificationError
from sigstore_models.common.v1 import PublicKey, PublicKeyDetails

from veilbox.audit.checkpoint import key_id
from veilbox.audit.entry import JobAccepted, JobEnded, Released
from veilbox.audit.statement import Told, envelope
from veilbox.audit_verifier.bundle import open_envelope
from veilbox.core.errors import LogError

JOB = {"job": "1234abcd", "time": "2026-11-24T04:16:00.000Z"}


@pytest.fixture(scope="module")
def keyring() -> RekorKeyring:
    der = Ed25519PublicKey.from_public_bytes(KEY.public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = PublicKey(raw_bytes=base64.b64encode(der), key_details=PublicKeyDetails.PKIX_ED25519)
    return RekorKeyring(Keyring([key]))


@pytest.fixture
def note() -> str:
    return log_on(Disk()).append([line(number) for number in range(11)]).note.decode()


def test_sigstore_verifies_a_checkpoint(note: str, keyring: RekorKeyring) -> None:
    found = SignedCheckpoint.from_text(note)
    assert found.checkpoint.origin == KEY.name
    assert found.checkpoint.log_size == 11
    found.signed_note.verify(keyring, KeyID(key_id(KEY.name, KEY.public)))


def test_sigstore_refuses_a_changed_checkpoint(note: str, keyring: RekorKeyring) -> None:
    changed = SignedCheckpoint.from_text(note.replace("\n11\n", "\n12\n"))
    with pytest.raises(VerificationError):
        changed.signed_note.verify(keyring, KeyID(key_id(KEY.name, KEY.public)))


def test_sigstore_verifies_every_inclusion() -> None:
    log = log_on(Disk())
    done = log.append([line(number) for number in range(11)])
    root = bytes.fromhex(SignedCheckpoint.from_text(done.note.decode()).checkpoint.log_hash)
    for index in range(11):
        proof = SimpleNamespace(log_index=index, tree_size=11, hashes=list(log.proof(index)), root_hash=root)
        inner = SimpleNamespace(inclusion_proof=proof, canonicalized_body=line(index))
        verify_merkle_inclusion(SimpleNamespace(_inner=inner))  # type: ignore[arg-type]
        inner.canonicalized_body = line(index + 1)
        with pytest.raises(VerificationError):
            verify_merkle_inclusion(SimpleNamespace(_inner=inner))  # type: ignore[arg-type]


@pytest.fixture
def attestation() -> dict[str, object]:
    told = Told()
    digest = f"sha256:{'ab' * 32}"
    told.take(JobAccepted(**JOB, veilbox="1", items=1, skipped=0))
    told.take(
        Released(
            **JOB,
            item=0,
            digest=digest,
            bytes=1,
            input=digest,
            frames=1,
            width=1,
            height=1,
            counts={},
            covered={},
            name=f"hmac-{digest}",
        )
    )
    told.take(JobEnded(**JOB, outcome="done", released=1, failed=0))
    made: dict[str, object] = json.loads(envelope(told, log={"origin": KEY.name}, signer=KEY))
    return made


def test_securesystemslib_verifies_the_envelope(attestation: dict[str, object]) -> None:
    identity = key_id(KEY.name, KEY.public).hex()
    key = SSlibKey(identity, "ed25519", "ed25519", {"public": KEY.public.hex()})
    assert Envelope.from_dict(deepcopy(attestation)).verify([key], 1)
    other = SSlibKey(identity, "ed25519", "ed25519", {"public": bytes(32).hex()})
    with pytest.raises(EnvelopeError):
        Envelope.from_dict(deepcopy(attestation)).verify([other], 1)


def test_sigstore_reads_the_statement(attestation: dict[str, object]) -> None:
    body = base64.b64decode(str(attestation["payload"]))
    statement = Statement(body)
    (subject,) = statement._inner.subjects
    assert subject.digest.root == {"sha256": "ab" * 32}
    assert json.loads(body)["predicate"]["job"] == "1234abcd"


def test_our_own_verifier_agrees_and_refuses_every_changed_bit_of_the_signature(attestation: dict[str, object]) -> None:
    assert open_envelope(attestation, PUBLIC)["predicateType"] == "urn:veilbox:anonymization:v1"
    signatures: Any = attestation["signatures"]
    signature = signatures[0]
    right = base64.b64decode(signature["sig"])
    for bit in range(8 * len(right)):
        wrong = (int.from_bytes(right, "big") ^ (1 << bit)).to_bytes(len(right), "big")
        signature["sig"] = base64.b64encode(wrong).decode()
        with pytest.raises(LogError):
            open_envelope(attestation, PUBLIC)
