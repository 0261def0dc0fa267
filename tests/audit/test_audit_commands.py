"""`veilbox audit`: what a person does with a log, and with a bundle on a machine that has no log."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from job_workshop import talking
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError as EnvelopeError
from securesystemslib.signer._key import SSlibKey
from sigstore.dsse import Statement

from veilbox.audit.entry import (
    AnyEntry,
    Failed,
    ImagesAdmitted,
    InputRead,
    JobAccepted,
    JobEnded,
    PolicyApplied,
    Released,
    encode_entry,
)
from veilbox.cli.main import main
from veilbox.core.control import Append, Appended, LogOpened, Seal, Sealed
from veilbox.core.policy import Policy
from veilbox.orchestrate.audit_log import open_log
from veilbox.orchestrate.audit_trail import canonical

OUTPUT = b"clean"
SBOM = b'{"bomFormat": "CycloneDX"}'
REPORT = {"veilbox": "1", "metrics": {"fps": 1e-7, "wall_s": 12.5}, "outputs": [{"source": "straße\udc80.mp4"}]}


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def entries(job: str, source: str, policy: str) -> list[AnyEntry]:
    now: dict[str, Any] = {"job": job, "time": "2026-11-24T04:16:00.000Z"}
    return [
        JobAccepted(**now, veilbox="1", items=2, skipped=0),
        ImagesAdmitted(**now, images={"ingest": digest(b"image")}, models={}, sboms={"ingest": digest(SBOM)}),
        PolicyApplied(**now, digest=policy, classes=("face",), style="solid"),
        InputRead(**now, item=0, digest=digest(b"raw"), bytes=3, name=source),
        Released(
            **now,
            item=0,
            digest=digest(OUTPUT),
            bytes=5,
            input=digest(b"raw"),
            frames=1,
            width=1,
            height=1,
            counts={"face": 1},
            covered={},
            name=source,
        ),
        Failed(**now, item=1, error="SourceCorrupt"),
        JobEnded(**now, outcome="partial", released=1, failed=1, report=digest(canonical(REPORT))),
    ]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store whose log has two finished jobs, one after the other."""
    root = tmp_path / "store"
    monkeypatch.setenv("VEILBOX_HOME", str(root))
    for job in ("aaaa0000", "bbbb0000"):
        with open_log(root) as folder, talking() as talk:
            opened = talk.open(folder)
            assert isinstance(opened, LogOpened)
            folder.publish(opened.key)
            policy = str(folder.keep_policy(canonical(Policy())))
            folder.keep_sbom(SBOM)
            texts = tuple(encode_entry(one).decode() for one in entries(job, folder.keyed("street.mp4"), policy))
            assert isinstance(talk.ask(Append(entries=texts)), Appended)
            with folder.attestation(job) as fd:
                assert isinstance(talk.ask(Seal(), [fd]), Sealed)
    return root


@pytest.fixture
def key(store: Path) -> str:
    return (store / "audit" / "key.pub").read_text().strip()


@pytest.fixture
def bundle(store: Path, tmp_path: Path) -> Path:
    """The second job's bundle with its report."""
    del store
    path, report = tmp_path / "job.json", tmp_path / "report.json"
    report.write_text(json.dumps(REPORT | {"audit": {"anything": 1}}, indent=2))
    assert main(["audit", "export", "bbbb0000", "-o", str(path), "--report", str(report)]) == 0
    return path


def test_the_log_is_verified(store: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["entries"] == 14
    assert "give --key" in told.err
    assert main(["audit", "verify", "--log", str(store / "audit"), "--key", key]) == 0
    assert "entries 14" in capsys.readouterr().out


def test_verification_needs_nothing_but_the_files_and_the_public_key(store: Path, key: str) -> None:
    for name in ("key", "key.pub", "names.key", "lock"):
        (store / "audit" / name).unlink()
    assert main(["audit", "verify", "--key", key]) == 0


def test_a_changed_log_exits_10(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = store / "audit" / "entries" / f"{0:020d}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"bytes":5', b'"bytes":6', 1))
    assert main(["audit", "verify"]) == 10
    assert "entry 4" in capsys.readouterr().err


def test_a_log_brought_back_is_found_by_the_checkpoint_of_a_report(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = store / "audit" / "checkpoints"
    notes = checkpoints.read_bytes().splitlines(keepends=True)
    kept = tmp_path / "kept.note"
    kept.write_bytes(b"".join(notes[-5:]))
    assert main(["audit", "verify", "--checkpoint", str(kept)]) == 0
    checkpoints.write_bytes(b"".join(notes[:-5]))
    (store / "audit" / "tree").write_bytes((store / "audit" / "tree").read_bytes()[: 7 * 8 + 11 * 32])
    entries_file = store / "audit" / "entries" / f"{0:020d}.jsonl"
    entries_file.write_bytes(b"".join(entries_file.read_bytes().splitlines(keepends=True)[:7]))
    assert main(["audit", "verify"]) == 0
    assert main(["audit", "verify", "--checkpoint", str(kept)]) == 10
    assert "shorter than the checkpoint" in capsys.readouterr().err


def test_show(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del store
    assert main(["audit", "show", "--job", "bbbb0000", "--last", "2"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["index"], one["type"]) for one in shown] == [(12, "failure"), (13, "end")]
    assert main(["audit", "show", "--name", "street.mp4"]) == 0
    assert [json.loads(line)["index"] for line in capsys.readouterr().out.splitlines()] == [3, 4, 10, 11]


@pytest.mark.parametrize("words", [["prove", "14"], ["prove", "-1"], ["export", "cccc0000"]])
def test_what_is_not_in_the_log_is_a_wrong_request(store: Path, words: list[str]) -> None:
    del store
    assert main(["audit", *words]) == 2


def test_a_proof_is_a_bundle(store: Path, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del store
    path = tmp_path / "entry.json"
    assert main(["audit", "prove", "5", "-o", str(path)]) == 0
    assert main(["audit", "verify", "--bundle", str(path), "--key", key]) == 0
    assert "job aaaa0000, entries 1, of 14" in capsys.readouterr().out


def test_another_person_verifies_a_bundle_offline(
    store: Path, key: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    released = tmp_path / "out.mp4"
    released.write_bytes(OUTPUT)
    (store / "audit").rename(tmp_path / "far-away")
    assert main(["audit", "verify", "--bundle", str(bundle), "--key", key, "--file", str(released), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "log": key.partition("+")[0],
        "job": "bbbb0000",
        "entries": 7,
        "of": 14,
        "outputs": 1,
        "attested": True,
    }
    released.write_bytes(b"other")
    assert main(["audit", "verify", "--bundle", str(bundle), "--key", key, "--file", str(released)]) == 10


def test_a_bundle_holds_what_an_auditor_asks_for(bundle: Path) -> None:
    held = json.loads(bundle.read_text())
    assert held["policy"]["redaction"]["style"] == "solid"
    assert [json.loads(one["line"])["type"] for one in held["entries"]][1] == "images"
    assert held["envelope"]["payloadType"] == "application/vnd.in-toto+json"
    assert held["report"]["veilbox"] == "1"
    assert held["sboms"] == {digest(SBOM): SBOM.decode()}
    predicate = json.loads(base64.b64decode(held["envelope"]["payload"]))["predicate"]
    assert predicate["images"] == {"ingest": digest(b"image")}
    assert predicate["sboms"] == {"ingest": digest(SBOM)}


def test_others_verify_the_exported_envelope(bundle: Path, key: str, tmp_path: Path) -> None:
    path = tmp_path / "envelope.json"
    assert main(["audit", "export", "bbbb0000", "-o", str(tmp_path / "again.json"), "--envelope", str(path)]) == 0
    envelope = json.loads(path.read_text())
    assert envelope == json.loads(bundle.read_text())["envelope"]
    identity, raw = key.split("+")[1], base64.b64decode(key.split("+", 2)[2])[1:]
    other = SSlibKey(identity, "ed25519", "ed25519", {"public": raw.hex()})
    assert Envelope.from_dict(deepcopy(envelope)).verify([other], 1)
    (subject,) = Statement(base64.b64decode(envelope["payload"]))._inner.subjects
    assert f"sha256:{subject.digest.root['sha256']}" == digest(OUTPUT)
    envelope["payload"] = base64.b64encode(b"{}").decode()
    with pytest.raises(EnvelopeError):
        Envelope.from_dict(envelope).verify([other], 1)


def _line(bundle: Any, number: int, old: str, new: str) -> None:
    bundle["entries"][number]["line"] = bundle["entries"][number]["line"].replace(old, new)


# What somebody does to a bundle -> the change.
FORGED: dict[str, Callable[[Any], object]] = {
    "an entry": lambda bundle: _line(bundle, 4, '"bytes":5', '"bytes":6'),
    "an entry's index": lambda bundle: bundle["entries"][0].update(index=8),
    "an entry of another job": lambda bundle: _line(bundle, 0, "bbbb", "cccc"),
    "a release left out": lambda bundle: bundle["entries"].pop(4),
    "a shorter proof": lambda bundle: bundle["entries"][2]["proof"].pop(),
    "a proof of words": lambda bundle: bundle["entries"][2].update(proof=["x", 1]),
    "no entries": lambda bundle: bundle.update(entries=[]),
    "the checkpoint": lambda bundle: bundle.update(checkpoint=bundle["checkpoint"].replace("\n14\n", "\n15\n")),
    "the policy": lambda bundle: bundle["policy"].update(keep=["audio"]),
    "the report": lambda bundle: bundle["report"].update(veilbox="2"),
    "an SBOM": lambda bundle: bundle["sboms"].update({digest(SBOM): "{}"}),
    "another SBOM": lambda bundle: bundle["sboms"].update({digest(b"x"): "x"}),
    "an SBOM of numbers": lambda bundle: bundle["sboms"].update({digest(SBOM): 1}),
    "SBOMs of words": lambda bundle: bundle.update(sboms="good"),
    "a report of words": lambda bundle: bundle.update(report="good"),
    "the statement": lambda bundle: bundle["envelope"].update(payload="e30="),
    "the signature": lambda bundle: bundle["envelope"]["signatures"].clear(),
    "the envelope": lambda bundle: bundle.update(envelope=7),
    "the format": lambda bundle: bundle.update(format="veilbox/audit-bundle/v0"),
    "a surrogate": lambda bundle: bundle.update(checkpoint="\udc80"),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_forged_bundle_is_refused(bundle: Path, key: str, change: Callable[[Any], object]) -> None:
    held = json.loads(bundle.read_text())
    change(held)
    bundle.write_text(json.dumps(held))
    assert main(["audit", "verify", "--bundle", str(bundle), "--key", key]) == 10


def test_a_bundle_is_not_verified_with_its_own_key(bundle: Path) -> None:
    assert main(["audit", "verify", "--bundle", str(bundle)]) == 2


@pytest.mark.parametrize("words", ["", "a+b", "veilbox/a+00000000+AQ==", "veilbox/a+zz+AAAA"])
def test_what_is_no_key_is_a_wrong_request(bundle: Path, words: str) -> None:
    assert main(["audit", "verify", "--bundle", str(bundle), "--key", words]) == 2


def test_no_log(tmp_path: Path) -> None:
    assert main(["audit", "show", "--log", str(tmp_path)]) == 3
    assert main(["audit", "verify", "--log", str(tmp_path), "--key", "veilbox/x+00000000+AQ=="]) == 2


def test_rotation(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "rotate"]) == 0
    assert capsys.readouterr().out.strip().endswith(f"{14:020d}.jsonl")
    assert main(["audit", "verify"]) == 0
    assert main(["audit", "show", "--last", "1"]) == 0
    (store / "audit" / "entries" / f"{0:020d}.jsonl").unlink()
    assert main(["audit", "verify"]) == 10
    assert main(["audit", "verify", "--archived"]) == 0
    assert main(["audit", "prove", "5"]) == 2
