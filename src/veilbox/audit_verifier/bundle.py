"""A bundle: what a log says of one job, or of one entry, with the proofs, in one file that is verified offline.

Format `veilbox/audit-bundle/v1`, docs/reference/audit-log.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veilbox.audit_verifier.note import Checkpoint, PublicKey, open_note, unbase64
from veilbox.audit_verifier.tree import hash_leaf, inclusion_holds
from veilbox.core.errors import LogError

FORMAT = "veilbox/audit-bundle/v1"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PAYLOAD = "application/vnd.in-toto+json"
_WHERE = "bundle"


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedBundle:
    """What a bundle proves.

    Attributes:
        job: The job of its entries.
        entries: How many were proved.
        size: Entries that the checkpoint covers.
        outputs: Digests of released files, `sha256:...`.
        attested: Whether the log's key also signed an in-toto statement about them.
    """

    job: str
    entries: int
    size: int
    outputs: tuple[str, ...]
    attested: bool


def verify_bundle(data: bytes, key: PublicKey, *, files: Sequence[str] = ()) -> VerifiedBundle:
    """Verify a bundle.

    Args:
        data: Its bytes.
        key: The log's public key, from somewhere else than the bundle.
        files: Digests of files that it must say were released.

    Raises:
        LogError: The first fault.
    """
    bundle = _bundle(data)
    checkpoint = open_note(_text(bundle, "checkpoint").encode("utf-8", "replace"), key, f"{_WHERE}: checkpoint")
    entries = [_proved(one, checkpoint) for one in _list(bundle, "entries")]
    # A later job's entry about this one's material says so in `of`.
    jobs = {entry.get("of", entry.get("job")) for entry in entries}
    if len(jobs) != 1:
        raise LogError("entries of several jobs, or none", where=_WHERE)
    _check_policy(bundle.get("policy"), entries)
    _check_sboms(bundle.get("sboms"), entries)
    _check_report(bundle.get("report"), entries)
    outputs = tuple(str(entry.get("digest")) for entry in entries if entry.get("type") == "release")
    envelope = bundle.get("envelope")
    if envelope is not None:
        _check_envelope(envelope, key, outputs)
    for digest in files:
        if digest not in outputs:
            raise LogError("a file that the job did not release", where=_WHERE, actual=digest)
    return VerifiedBundle(
        job=str(jobs.pop()),
        entries=len(entries),
        size=checkpoint.size,
        outputs=outputs,
        attested=envelope is not None,
    )


def _bundle(data: bytes) -> Mapping[str, Any]:
    bundle = _json(data, _WHERE)
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        raise LogError("not a bundle", where=_WHERE, expected=FORMAT)
    return bundle


def _proved(one: Any, checkpoint: Checkpoint) -> Mapping[str, Any]:
    """An entry whose line is in the tree of the checkpoint at its index."""
    if not isinstance(one, dict) or type(one.get("index")) is not int:
        raise LogError("not an entry", where=_WHERE)
    line, index = _text(one, "line").encode("utf-8", "replace"), one["index"]
    path = [unbase64(part) if isinstance(part, str) else None for part in _list(one, "proof")]
    whole = [part for part in path if part is not None]
    if len(whole) != len(path) or not inclusion_holds(index, checkpoint.size, hash_leaf(line), whole, checkpoint.root):
        raise LogError("an entry that the log does not hold", where=f"{_WHERE}: entry {index}")
    entry = _json(line, f"{_WHERE}: entry {index}")
    if not isinstance(entry, dict):
        raise LogError("not an entry", where=f"{_WHERE}: entry {index}")
    return entry


def _check_policy(policy: Any, entries: Sequence[Mapping[str, Any]]) -> None:
    if policy is not None:
        _check_digest(
            "policy", _canonical(policy), [one.get("digest") for one in entries if one.get("type") == "policy"]
        )


def _check_sboms(sboms: Any, entries: Sequence[Mapping[str, Any]]) -> None:
    """Every SBOM is one that the job's images had, byte by byte; one that was not kept is null."""
    if sboms is None:
        return
    if not isinstance(sboms, dict):
        raise LogError("not SBOMs by their digests", where=_WHERE)
    images = [entry.get("sboms") for entry in entries if entry.get("type") == "images"]
    known = [digest for one in images if isinstance(one, dict) for digest in one.values()]
    for digest, text in sboms.items():
        content = text.encode("utf-8", "replace") if isinstance(text, str) else b""
        if text is not None and digest in known:
            _check_digest("SBOM", content, [digest])
        elif digest not in known:
            raise LogError("an SBOM of no image of the job", where=_WHERE, actual=str(digest))


def _check_report(report: Any, entries: Sequence[Mapping[str, Any]]) -> None:
    if report is not None:
        if not isinstance(report, dict):
            raise LogError("not a report", where=_WHERE)
        body = {name: value for name, value in report.items() if name != "audit"}
        _check_digest("report", _canonical(body), [one.get("report") for one in entries if one.get("type") == "end"])


def _check_digest(what: str, content: bytes, known: Sequence[Any]) -> None:
    actual = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if actual not in known:
        raise LogError(f"not the {what} of the job", where=_WHERE, expected=", ".join(map(str, known)), actual=actual)


def _check_envelope(envelope: Any, key: PublicKey, outputs: Sequence[str]) -> None:
    """DSSE 1.0.2 with an in-toto Statement 1.0 that names the released files and no others."""
    statement = open_envelope(envelope, key)
    subjects = [f"sha256:{_at(one, 'digest', 'sha256')}" for one in _list(statement, "subject")]
    if sorted(subjects) != sorted(outputs):
        raise LogError("the statement is about other files than the entries", where=f"{_WHERE}: envelope")
    open_note(
        str(_at(statement, "predicate", "log", "checkpoint")).encode("utf-8", "replace"),
        key,
        f"{_WHERE}: the statement's checkpoint",
    )


def open_envelope(envelope: Any, key: PublicKey) -> Mapping[str, Any]:
    """The statement of an envelope that the key signed.

    Raises:
        LogError: It is no envelope, the signature does not hold, or it holds no in-toto statement.
    """
    where = f"{_WHERE}: envelope"
    if not isinstance(envelope, dict) or envelope.get("payloadType") != _PAYLOAD:
        raise LogError("not an envelope of an in-toto statement", where=where)
    body = unbase64(_text(envelope, "payload"))
    signatures = [unbase64(_text(one, "sig")) for one in _list(envelope, "signatures") if isinstance(one, dict)]
    if body is None:
        raise LogError("not an envelope", where=where)
    signed = b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(body), body)
    if not any(one is not None and key.signed(signed, one) for one in signatures):
        raise LogError("an envelope that the log's key did not sign", where=where)
    statement = _json(body, where)
    if not isinstance(statement, dict) or statement.get("_type") != _STATEMENT:
        raise LogError("not an in-toto statement", where=where)
    return statement


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LogError("not JSON", where=where) from error


def _at(value: Any, *names: str) -> Any:
    """What lies at the end of a way of names; None where the way ends earlier."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str):
        raise LogError("a part is missing", where=_WHERE, expected=name)
    return found


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    found = value.get(name)
    if not isinstance(found, list):
        raise LogError("a part is missing", where=_WHERE, expected=name)
    return found
