"""The main job as a user runs it: one command, sealed containers, a film out, a report that is valid."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import av
import jsonschema
import numpy as np
import pytest
from PIL import Image
from sealed_workshop import RunVeilbox
from skimage import data

from veilbox.orchestrate.report import report_schema

pytestmark = pytest.mark.sealed

COMPONENTS = ["ingest", "detect-centerface", "anonymize", "export", "verify", "second-centerface", "audit"]


def _frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.usefixtures("nothing_left")
def test_a_film_is_anonymised_and_reported(veilbox: RunVeilbox, short_film: Path, tmp_path: Path) -> None:
    output, report = tmp_path / "out.mp4", tmp_path / "report.json"
    run = veilbox("anonymize", short_film, "-o", output, "--report", report)
    assert run.status == 0, run.stderr
    assert str(output) in run.stdout
    document = json.loads(report.read_text())
    jsonschema.validate(document, report_schema())
    assert list(document["components"]) == COMPONENTS
    (released,) = document["outputs"]
    assert released["digest"] == f"sha256:{hashlib.sha256(output.read_bytes()).hexdigest()}"
    assert (released["frames"], released["width"], released["height"]) == (50, 640, 360)
    assert document["counts"] == {"face": 1}
    for component in document["components"].values():
        assert component["image_digest"].startswith("sha256:")
        assert component["startup_ms"]["create"] > 0
        assert component["cpu_s"] > 0
        assert component["memory_peak_bytes"] > 0
        assert component["io_bytes"]["read"] > 0
    assert document["components"]["detect-centerface"]["model_digest"].startswith("sha256:")
    latency = document["metrics"]["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert document["metrics"]["fps"] > 0
    peaks = [component["memory_peak_bytes"] for component in document["components"].values()]
    assert max(peaks) < document["metrics"]["memory_peak_bytes"] <= sum(peaks)


def test_the_face_is_hidden_in_every_frame_and_the_rest_is_not(
    veilbox: RunVeilbox, short_film: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    assert veilbox("anonymize", short_film, "-o", output).status == 0
    source, hidden = _frames(short_film), _frames(output)
    assert len(source) == len(hidden)
    for before, after in zip(source, hidden, strict=True):
        # Eyes and mouth of the portrait lie here, whatever its place: the darkest part of the output is the cover.
        cover = (after.max(axis=2) < 40).sum() / after[..., 0].size
        assert 0.02 < cover < 0.5
        edge = np.abs(before[-20:].astype(int) - after[-20:].astype(int)).mean()
        assert edge < 3


def test_json_is_the_report_alone(veilbox: RunVeilbox, short_film: Path, tmp_path: Path) -> None:
    run = veilbox("anonymize", short_film, "-o", tmp_path / "out.mp4", "--json")
    jsonschema.validate(run.json, report_schema())


def test_an_error_in_json_is_data(veilbox: RunVeilbox, tmp_path: Path) -> None:
    run = veilbox("anonymize", tmp_path / "missing.mp4", "-o", tmp_path / "out.mp4", "--json")
    assert run.status == 3
    assert run.json["error"]["kind"] == "SourceMissing"
    assert run.json["error"]["exit_code"] == 3
    assert str(tmp_path / "missing.mp4") in run.stderr


def test_an_isolation_that_is_not_measured_refuses_the_job(
    veilbox: RunVeilbox, short_film: Path, tmp_path: Path, nothing_left: None
) -> None:
    del nothing_left
    run = veilbox("anonymize", short_film, "-o", tmp_path / "out.mp4", "--isolation", "6")
    assert run.status == 7
    assert "isolation level 6" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_minimum_that_is_measured_is_granted(veilbox: RunVeilbox, short_film: Path, tmp_path: Path) -> None:
    run = veilbox("anonymize", short_film, "-o", tmp_path / "out.mp4", "--isolation", "3")
    assert run.status == 0, run.stderr


def test_detect_prints_coco_results_for_pictures_and_films(
    veilbox: RunVeilbox, short_film: Path, tmp_path: Path, nothing_left: None
) -> None:
    del nothing_left
    portrait = tmp_path / "portrait.png"
    Image.fromarray(cast("Any", data).astronaut()).save(portrait)
    before = sorted(tmp_path.iterdir())
    run = veilbox("detect", portrait, short_film, "--format", "coco")
    assert run.status == 0, run.stderr
    pictures = [box for box in run.json if box["file_name"] == str(portrait)]
    films = [box for box in run.json if box["file_name"] == str(short_film)]
    assert {box["image_id"] for box in pictures} == {0}
    assert {box["image_id"] for box in films} == {1}
    best = max(pictures, key=lambda box: box["score"])
    x, y, width, height = best["bbox"]
    # The astronaut's nose is near (225, 115) in scikit-image's 512x512 portrait.
    assert x < 225 < x + width
    assert y < 115 < y + height
    assert {box["frame"] for box in films} == set(range(50))
    assert sorted(tmp_path.iterdir()) == before


def test_an_existing_output_is_kept_unless_told_otherwise(
    veilbox: RunVeilbox, short_film: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(b"mine")
    assert veilbox("anonymize", short_film, "-o", output).status == 2
    assert output.read_bytes() == b"mine"
    assert veilbox("anonymize", short_film, "-o", output, "--overwrite").status == 0
    assert output.read_bytes() != b"mine"


def test_doctor_finds_this_machine_fit(veilbox: RunVeilbox) -> None:
    run = veilbox("doctor", "--json")
    assert run.status == 0, run.stderr
    names = {fact["name"] for fact in run.json}
    assert {"OCI runtime", "namespaces", "cgroups", "overlayfs", "Landlock", "GPU", "KVM", "images"} <= names
