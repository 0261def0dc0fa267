"""The audit log of real jobs: one that released, and one that could not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sealed_workshop import RunVeilbox

pytestmark = pytest.mark.sealed


def _shown(veilbox: RunVeilbox, *arguments: str) -> list[Any]:
    run = veilbox("audit", "show", *arguments)
    assert run.status == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_job_is_logged_proved_and_verified_by_another(veilbox: RunVeilbox, short_film: Path, tmp_path: Path) -> None:
    output, report = tmp_path / "out.mp4", tmp_path / "report.json"
    run = veilbox("anonymize", short_film, "-o", output, "--report", report)
    assert run.status == 0, run.stderr
    document = json.loads(report.read_text())
    audit, job = document["audit"], document["job"]
    entries = _shown(veilbox, "--job", job)
    assert [one["type"] for one in entries] == ["job", "images", "policy", "isolation", "input", "release", "end"]
    assert [one["index"] for one in entries][0::6] == [audit["first"], audit["index"]]
    assert document["outputs"][0]["audit_index"] == entries[5]["index"]
    assert entries[5]["digest"] == document["outputs"][0]["digest"]
    assert str(short_film) not in json.dumps(entries)
    kept = tmp_path / "kept.note"
    kept.write_text(audit["checkpoint"])
    assert veilbox("audit", "verify", "--key", audit["key"], "--checkpoint", kept).status == 0
    bundle = tmp_path / "job.json"
    assert veilbox("audit", "export", job, "-o", bundle, "--report", report).status == 0
    verified = veilbox("audit", "verify", "--bundle", bundle, "--key", audit["key"], "--file", output)
    assert verified.status == 0, verified.stderr
    assert "attested True" in verified.stdout


def test_names_are_logged_where_the_policy_lets_them(veilbox: RunVeilbox, short_film: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    assert veilbox("anonymize", short_film, "-o", output, "--log-names").status == 0
    source, released = _shown(veilbox, "--last", "3")[:2]
    assert (source["path"], released["path"]) == (str(short_film), str(output))


def test_a_job_that_failed_says_so_in_the_log(veilbox: RunVeilbox, tmp_path: Path) -> None:
    source = tmp_path / "bad.mp4"
    source.write_bytes(b"\0\0\0\x20ftypisom" + bytes(1000))
    run = veilbox("anonymize", source, "-o", tmp_path / "out.mp4")
    assert run.status == 3, run.stderr
    (end,) = _shown(veilbox, "--last", "1")
    assert end.items() >= {"type": "end", "outcome": "failed", "released": 0}.items()
    assert end["error"] in {"SourceCorrupt", "SourceUnsupported"}
    assert veilbox("audit", "verify").status == 0
