"""What verify's findings do to a job, as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
from sealed_workshop import RunVeilbox

pytestmark = pytest.mark.sealed

# So low that the second look takes noise for faces.
SUSPICIOUS = ("--residual-score", "0.02", "--json")


def test_an_output_in_quarantine_opens_for_who_must_look_at_it(
    veilbox: RunVeilbox, short_film: Path, tmp_path: Path, nothing_left: None
) -> None:
    del nothing_left
    output, opened = tmp_path / "out.mp4", tmp_path / "opened.mp4"
    run = veilbox("anonymize", short_film, "-o", output, *SUSPICIOUS)
    assert run.status == 12, run.stderr
    assert not output.exists()
    (failure,) = run.json["failures"]
    assert (failure["error"], failure["exit_code"]) == ("OutputQuarantined", 12)
    assert failure["verification"]["verdict"] == "quarantine"
    assert {finding["kind"] for finding in failure["verification"]["findings"]} == {"residual"}
    assert failure["quarantine"] in run.stderr
    assert b"moov" not in Path(failure["quarantine"]).read_bytes()
    assert veilbox("decrypt", failure["quarantine"], "-o", opened).status == 0
    with av.open(str(opened)) as film:
        assert sum(1 for _ in film.decode(video=0)) == 50
    told = veilbox("audit", "show", "--job", run.json["job"]).stdout
    assert "residual face" in told
    assert "OutputQuarantined" in told
    (listed,) = [one for one in veilbox("quarantine", "list", "--json").json if one["job"] == run.json["job"]]
    name = f"{listed['job']}/{listed['item']}"
    released = veilbox("quarantine", "release", name, "--reason", "false-alarm", "-o", output)
    assert released.status == 0, released.stderr
    assert listed["digest"] in released.stdout
    assert output.read_bytes() == opened.read_bytes()
    assert not Path(failure["quarantine"]).exists()
    entries = [json.loads(line) for line in veilbox("audit", "show", "--job", run.json["job"]).stdout.splitlines()]
    decisions = [one["decision"] for one in entries if one["type"] == "decision"]
    assert decisions == ["decrypt-quarantine", "release-quarantine"]
    assert entries[-1]["type"] == "deletion"


@pytest.mark.parametrize(("verdict", "status"), [("fail", 11), ("release", 0)])
def test_the_policy_decides(veilbox: RunVeilbox, short_film: Path, tmp_path: Path, verdict: str, status: int) -> None:
    output = tmp_path / "out.mp4"
    run = veilbox("anonymize", short_film, "-o", output, *SUSPICIOUS, "--on-residual", verdict)
    assert run.status == status, run.stderr
    assert output.exists() == (status == 0)
    (told,) = run.json["outputs"] or run.json["failures"]
    assert told["verification"]["verdict"] == verdict
    assert told["verification"]["findings"]
