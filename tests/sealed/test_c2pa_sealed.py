"""Manifests in the outputs of a real job, read by the library's own reader; and none where nobody asked."""

from __future__ import annotations

import hashlib
import io
import json
import mimetypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from leak_workshop import portrait
from sealed_workshop import Run, RunVeilbox, make_film

import c2pa  # type: ignore[import-untyped]
from veilbox.vault.signing_credential import SigningCredential

pytestmark = pytest.mark.sealed

SUFFIXES = ("jpg", "png", "webp", "mp4", "mov")
NAME = "street"
SETTINGS = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}


def read(content: bytes, suffix: str) -> Any:
    """What the reader says."""
    kind = mimetypes.types_map[f".{suffix}"] if suffix != "webp" else "image/webp"
    with c2pa.Context.from_dict(SETTINGS) as context:
        return json.loads(c2pa.Reader(kind, io.BytesIO(content), context=context).json())


def photographed(plain: bytes, folder: Path) -> bytes:
    """A photograph as a camera signs it: with its name, and a thumbnail of the face."""
    camera, target = SigningCredential.of(folder), io.BytesIO()
    actions = [
        {"action": "c2pa.created", "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"}
    ]
    definition = {
        "title": NAME,
        "claim_generator_info": [{"name": "camera", "version": "1"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}],
    }
    with c2pa.Context.from_dict(SETTINGS) as context:
        signer = c2pa.Signer.from_callback(camera.sign, c2pa.C2paSigningAlg.ES256, camera.chain)
        c2pa.Builder(json.dumps(definition), context).sign(signer, "image/jpeg", io.BytesIO(plain), target)
    return target.getvalue()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("c2pa")
    (folder / "in").mkdir()
    for suffix in SUFFIXES[:3]:
        portrait().save(folder / "in" / f"{suffix}.{suffix}")
    for suffix in SUFFIXES[3:]:
        make_film(folder / "in" / f"{suffix}.{suffix}", frames=3)
    photograph = folder / "in" / "jpg.jpg"
    photograph.write_bytes(photographed(photograph.read_bytes(), folder / "camera"))
    assert NAME.encode() in photograph.read_bytes()
    assert b"c2pa.thumbnail" in photograph.read_bytes()
    return folder


@pytest.fixture(scope="module")
def job(veilbox: RunVeilbox, sources: Path) -> Run:
    run = veilbox("anonymize", sources / "in", "-o", sources / "out", "--c2pa", "--json")
    assert run.status == 0, run.stderr
    return run


@pytest.fixture(scope="module")
def entries(veilbox: RunVeilbox, job: Run) -> list[Any]:
    """The job's, as the log shows them."""
    return [json.loads(line) for line in veilbox("audit", "show", "--job", job.json["job"]).stdout.splitlines()]


@pytest.fixture(scope="module")
def accepted(veilbox: RunVeilbox, job: Run) -> str:
    """The leaf hash of its first entry, of what `audit prove` hands out."""
    proof = veilbox("audit", "prove", str(job.json["audit"]["first"]))
    assert proof.status == 0, proof.stderr
    (proved,) = proof.json["entries"]
    return hashlib.sha256(b"\0" + proved["line"].encode()).hexdigest()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_output_says_that_it_was_redacted_and_under_which_entry(
    job: Run, sources: Path, entries: list[Any], accepted: str, suffix: str
) -> None:
    content = (sources / "out" / f"{suffix}.{suffix}").read_bytes()
    told = read(content, suffix)
    assert told["validation_state"] == "Valid"
    (manifest,) = told["manifests"].values()
    assert [one["name"] for one in manifest["claim_generator_info"]] == ["veilbox"]
    assertions = {one["label"]: one["data"] for one in manifest["assertions"]}
    said = assertions["veilbox.redaction"]
    by_type = {entry["type"]: entry for entry in entries}
    assert said["audit"]["entry"] == by_type["job"]["index"] == job.json["audit"]["first"]
    assert said["audit"]["log"] == job.json["audit"]["origin"]
    assert said["audit"]["job"] == job.json["job"]
    assert said["policy"] == by_type["policy"]["digest"]
    assert said["models"].items() <= by_type["images"]["models"].items()
    assert said["audit"]["leaf"] == f"sha256:{accepted}"
    released = [entry["digest"] for entry in entries if entry["type"] == "release"]
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" in released


def test_nothing_of_a_source_s_own_manifest_stays(job: Run, sources: Path) -> None:
    del job
    content, source = ((sources / folder / "jpg.jpg").read_bytes() for folder in ("out", "in"))
    (camera,) = read(source, "jpg")["manifests"]
    assert NAME.encode() not in content
    assert camera.encode() not in content
    assert b"thumbnail" not in content


@pytest.mark.parametrize("suffix", ["jpg", "mp4"])
def test_a_changed_byte_is_found(job: Run, sources: Path, suffix: str) -> None:
    del job
    content = bytearray((sources / "out" / f"{suffix}.{suffix}").read_bytes())
    content[content.index({"jpg": b"\xff\xda", "mp4": b"mdat"}[suffix]) + 40] ^= 1
    assert read(bytes(content), suffix)["validation_state"] == "Invalid"


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_another_reader_finds_it(job: Run, sources: Path) -> None:
    command = ["exiftool", "-G3", "-struct", "-jumbf:all", str(sources / "out" / "jpg.jpg")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert job.json["audit"]["origin"] in told


def test_the_component_stands_behind_the_walls_of_all_others(job: Run) -> None:
    levels = {name: one["isolation"]["level"] for name, one in job.json["components"].items()}
    assert levels["claim"] == max(levels.values())


def test_nobody_who_did_not_ask_has_one(veilbox: RunVeilbox, sources: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jpg"
    run = veilbox("anonymize", sources / "in" / "jpg.jpg", "-o", output, "--json")
    assert run.status == 0, run.stderr
    assert "claim" not in run.json["components"]
    assert b"jumb" not in output.read_bytes()
    assert b"c2pa" not in output.read_bytes()


def test_a_format_without_a_place_for_it_is_refused_at_once(
    veilbox: RunVeilbox, short_film: Path, tmp_path: Path
) -> None:
    run = veilbox("anonymize", short_film, "-o", tmp_path / "out.mkv", "--c2pa")
    assert run.status == 2
    assert "this format carries no C2PA manifest" in run.stderr
    assert list(tmp_path.iterdir()) == []
