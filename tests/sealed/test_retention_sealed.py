"""Sources go after their outputs, in real jobs; what became of them is in the log, the report and the bundle."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import av
import pytest
from sealed_workshop import VEILBOX, RunVeilbox

pytestmark = pytest.mark.sealed

KILLS = 6


@pytest.fixture
def source(short_film: Path, tmp_path: Path) -> Path:
    path = tmp_path / "in" / "street.mp4"
    path.parent.mkdir()
    shutil.copyfile(short_film, path)
    return path


def test_an_encrypted_source_comes_back_until_it_is_purged(
    veilbox: RunVeilbox, source: Path, short_film: Path, tmp_path: Path
) -> None:
    output, report, page = tmp_path / "out.mp4", tmp_path / "report.json", tmp_path / "page.html"
    run = veilbox(
        "anonymize", source, "-o", output, "--source", "encrypt", "--report", report, "--exposure-report", page
    )
    assert run.status == 0, run.stderr
    sealed = source.with_name("street.mp4.veilbox")
    assert [path.name for path in source.parent.iterdir()] == [sealed.name]
    document = json.loads(report.read_text())
    assert document["outputs"][0]["source_fate"] == "encrypted"
    assert document["outputs"][0]["exposure"]["frames"]["detected"] > 40
    assert "Weakest tracks" in page.read_text()
    back = tmp_path / "back.mp4"
    assert veilbox("decrypt", sealed, "-o", back).status == 0
    assert back.read_bytes() == short_film.read_bytes()
    assert veilbox("purge", "--older-than", "0s").status == 0
    assert not sealed.exists()
    _check_the_log(veilbox, document, tmp_path)


def _check_the_log(veilbox: RunVeilbox, document: dict[str, object], folder: Path) -> None:
    job, bundle, key = str(document["job"]), folder / "job.json", document["audit"]["key"]  # type: ignore[index]
    shown = [json.loads(line) for line in veilbox("audit", "show", "--job", job).stdout.splitlines()]
    told = [one["type"] for one in shown if one["type"] in {"release", "due", "deletion", "notice", "decision"}]
    assert told == ["release", "due", "deletion", "notice", "decision", "due", "deletion"]
    assert [one["what"] for one in shown if one["type"] == "deletion"] == ["source", "key"]
    assert veilbox("audit", "export", job, "-o", bundle, "--report", folder / "report.json").status == 0
    held = json.loads(bundle.read_text())
    assert len(held["sboms"]) == len(set(next(one for one in shown if one["type"] == "images")["sboms"].values()))
    assert all("CycloneDX" in text for text in held["sboms"].values())
    verified = veilbox("audit", "verify", "--bundle", bundle, "--key", key)
    assert verified.status == 0, verified.stderr
    assert veilbox("audit", "verify").status == 0


def test_a_source_whose_job_fails_stays(veilbox: RunVeilbox, tmp_path: Path) -> None:
    source = tmp_path / "bad.mp4"
    source.write_bytes(b"\0\0\0\x20ftypisom" + bytes(1000))
    assert veilbox("anonymize", source, "-o", tmp_path / "out.mp4", "--source", "delete").status == 3
    assert source.exists()


@pytest.mark.parametrize("index", range(KILLS))
def test_a_killed_job_leaves_the_source_or_the_whole_output(
    sealed: None, index: int, source: Path, tmp_path: Path
) -> None:
    del sealed
    output = tmp_path / "out.mp4"
    line = [str(VEILBOX), "anonymize", str(source), "-o", str(output), "--source", "delete", "--quiet"]
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(random.Random(index).uniform(0.5, 6))  # noqa: S311 - chance, not a secret
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    assert source.exists() or output.exists()
    if output.exists():
        with av.open(str(output)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 50
