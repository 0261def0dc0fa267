"""What no job does is in the log too: a purge, a decision."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from veilbox.audit_verifier.folder import verify_folder
from veilbox.audit_verifier.note import PublicKey
from veilbox.cli.main import main
from veilbox.core.digest import Digest
from veilbox.core.errors import Interrupted
from veilbox.orchestrate.audit_reader import LogReader
from veilbox.orchestrate.audit_session import session_on
from veilbox.orchestrate.plan import Program, audit_plan
from veilbox.orchestrate.threads import ThreadLauncher

DIGEST = f"sha256:{'0f' * 32}"
PLAN = audit_plan({"audit": Program(image=Digest(DIGEST), args=("python3",), env=())}, cpus=1)


def entries(root: Path) -> list[dict[str, object]]:
    with LogReader.open(root / "audit") as log:
        return [json.loads(line.data) for line in log.lines()]


def test_what_was_noted_is_durable_when_the_session_ends(tmp_path: Path) -> None:
    with session_on(PLAN, ThreadLauncher({}), log_root=tmp_path, job_id="aaaa0000") as trail:
        trail.deleted("key", DIGEST, item=3, of="5f0b83b0")
        trail.decided("release", item=3, digest=DIGEST, of="5f0b83b0")
        trail.notice("a-warning")
    told = entries(tmp_path)
    kinds = ["job", "images", "policy", "isolation", "deletion", "decision", "notice", "end"]
    assert [one["type"] for one in told] == kinds
    assert told[4].items() >= {"what": "key", "digest": DIGEST, "item": 3, "of": "5f0b83b0"}.items()
    assert told[5].items() >= {"decision": "release", "by": f"uid {os.getuid()}", "of": "5f0b83b0"}.items()
    assert told[7]["outcome"] == "done"
    key = PublicKey.parse((tmp_path / "audit" / "key.pub").read_text())
    assert verify_folder(tmp_path / "audit", key).size == len(kinds)


def _broken_session(root: Path) -> None:
    with session_on(PLAN, ThreadLauncher({}), log_root=root, job_id="aaaa0000") as trail:
        trail.deleted("key", DIGEST, of="5f0b83b0")
        raise Interrupted("a signal")


def test_what_a_session_was_told_before_it_broke_is_logged(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        _broken_session(tmp_path)
    assert [one["type"] for one in entries(tmp_path)][4:] == ["deletion", "end"]


def test_a_job_is_shown_with_what_was_done_to_its_material_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VEILBOX_HOME", str(tmp_path))
    for job, of in (("5f0b83b0", None), ("bbbb0000", "5f0b83b0"), ("cccc0000", "dddd0000")):
        with session_on(PLAN, ThreadLauncher({}), log_root=tmp_path, job_id=job) as trail:
            trail.due("key", DIGEST, of=of)
            trail.deleted("key", DIGEST, of=of)
    assert main(["audit", "show", "--job", "5f0b83b0"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["index"], one["type"]) for one in shown][-3:] == [(6, "end"), (11, "due"), (12, "deletion")]
    bundle, key = tmp_path / "job.json", (tmp_path / "audit" / "key.pub").read_text()
    assert main(["audit", "export", "5f0b83b0", "-o", str(bundle)]) == 0
    assert main(["audit", "verify", "--bundle", str(bundle), "--key", key]) == 0
    assert "job 5f0b83b0, entries 9" in capsys.readouterr().out
