"""A real job says who signed what it ran, and one whose images are not trusted does not begin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sealed_workshop import RunVeilbox

from veilbox.oci.image.store import ImageStore
from veilbox.oci.trust.store import TrustStore
from veilbox.oci.trust.verify import Clause

pytestmark = pytest.mark.sealed


def test_the_report_and_the_log_say_who_vouches(veilbox: RunVeilbox, short_film: Path, tmp_path: Path) -> None:
    run = veilbox("anonymize", short_film, "-o", tmp_path / "out.mp4", "--report", tmp_path / "report.json")
    assert run.status == 0, run.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    root = ImageStore.default().root
    public = TrustStore(root / "trust").local_public()
    assert public is not None
    for component in report["components"].values():
        assert component["admission"]["keys"] == [str(public.key_id)]
        assert component["admission"]["clauses"] == [clause.value for clause in Clause]
    folder = root / "audit" / "entries"
    entries = [json.loads(line) for path in folder.iterdir() for line in path.read_text().splitlines()]
    admitted = next(one for one in entries if one["job"] == report["job"] and one["type"] == "images")
    assert admitted["signers"] == {name: [str(public.key_id)] for name in report["components"]}
    assert {one["admission"]["policy"] for one in report["components"].values()} == {admitted["trust_policy"]}


def test_a_job_whose_images_are_not_trusted_does_not_begin(
    veilbox: RunVeilbox, short_film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.toml").write_text("version = 1\n")
    monkeypatch.setenv("VEILBOX_TRUST_POLICY", str(tmp_path / "policy.toml"))
    run = veilbox("anonymize", short_film, "-o", tmp_path / "out.mp4")
    assert run.status == 6
    assert f"refused by clause {Clause.RULE.number}, {Clause.RULE}" in run.stderr
    assert not (tmp_path / "out.mp4").exists()
