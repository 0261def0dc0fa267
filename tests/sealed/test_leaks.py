"""A corpus of leaking files: none of the leaks survives a job, and each that is planted later is caught by verify."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from footage_workshop import needs_exiftool, needs_ffmpeg
from leak_workshop import LEAKS, MARK, NAMES, leaking, plain
from sealed_workshop import RunVeilbox

pytestmark = [pytest.mark.sealed, needs_ffmpeg, needs_exiftool]

# Ingest follows a Matroska file to its last byte, and takes what is no element there for damage.
REFUSED = {"zip.mkv"}
QUICK = ("--film-side", "96", "--image-side", "192")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, veilbox: RunVeilbox) -> tuple[Path, Path]:
    """Sources, with and without leaks, and what a job with the default policy makes of them."""
    root = tmp_path_factory.mktemp("leaks")
    sources = root / "sources"
    sources.mkdir()
    plain(sources)
    leaking(sources, sources)
    run = veilbox("anonymize", sources, "-o", root / "out", "--json", *QUICK, timeout_s=600)
    assert {Path(one["source"]).name for one in run.json["failures"]} == REFUSED, run.stderr
    return sources, root / "out"


@pytest.mark.parametrize("name", NAMES)
def test_a_leak_changes_nothing_of_the_output(honest: tuple[Path, Path], name: str) -> None:
    """The strongest that can be said: byte for byte the output of a source that never had it."""
    sources, outputs = honest
    suffix = name.partition(".")[2]
    if name in REFUSED:
        assert not (outputs / name).exists()
        return
    made = (outputs / name).read_bytes()
    assert MARK.encode() not in made
    assert made == (outputs / f"plain.{suffix}").read_bytes()
    assert (sources / name).read_bytes() != (sources / f"plain.{suffix}").read_bytes()


@pytest.fixture(scope="module")
def planted(honest: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A job over sources without leaks, each of whose outputs gets a leak after export has closed it."""
    sources, outputs = honest
    root = tmp_path_factory.mktemp("planted")
    (root / "planted").mkdir()
    (root / "clean").mkdir()
    leaking(outputs, root / "planted")
    for suffix in LEAKS:
        content = (outputs / f"plain.{suffix}").read_bytes()
        (root / "planted" / f"plain.{suffix}").write_bytes(content)
        (root / "clean" / f"plain.{suffix}").write_bytes((sources / f"plain.{suffix}").read_bytes())
    for name in NAMES:
        (root / "clean" / name).write_bytes((sources / f"plain.{name.partition('.')[2]}").read_bytes())
    driver = Path(__file__).with_name("planting.py")
    finished = subprocess.run(
        [sys.executable, driver, root / "planted", "anonymize", root / "clean", "-o", root / "out", "--json", *QUICK],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert finished.returncode == 9, finished.stdout + finished.stderr
    report: dict[str, Any] = json.loads(finished.stdout)
    return report, root / "out"


@pytest.mark.parametrize("name", NAMES)
def test_verify_catches_a_leak_behind_anonymizes_back(planted: tuple[dict[str, Any], Path], name: str) -> None:
    report, outputs = planted
    (failure,) = [one for one in report["failures"] if Path(one["source"]).name == name]
    assert (failure["error"], failure["verification"]["verdict"]) == ("OutputRefused", "fail")
    found = failure["verification"]["findings"]
    assert "structure" in {one["kind"] for one in found}
    assert MARK not in json.dumps(found)
    assert not (outputs / name).exists()


def test_what_nobody_touched_is_released(planted: tuple[dict[str, Any], Path]) -> None:
    """Or the findings above would say nothing."""
    report, outputs = planted
    assert {Path(one["path"]).name for one in report["outputs"]} == {f"plain.{suffix}" for suffix in LEAKS}
    assert {path.name for path in outputs.iterdir()} == {f"plain.{suffix}" for suffix in LEAKS}
    assert all(one["verification"]["findings"] == [] for one in report["outputs"])
