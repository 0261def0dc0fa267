"""A promise of `VEILBOX_REQUIRE` turns a skip into a failure, and nothing else does."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
TESTS = """
import pytest

@pytest.mark.sealed
def test_in_the_body():
    pytest.skip("no runtime")

@pytest.fixture
def absent():
    pytest.skip("no photographs")

@pytest.mark.footage
def test_in_a_fixture(absent):
    pass

@pytest.mark.footage
@pytest.mark.skipif(True, reason="by mark")
def test_by_mark():
    pass

@pytest.mark.sealed
@pytest.mark.xfail(reason="known")
def test_expected_to_fail():
    raise ValueError

def test_unmarked():
    pytest.skip("whatever")
"""


@pytest.mark.parametrize(
    ("promise", "summary", "status"),
    [
        ("", "4 skipped, 1 xfailed", 0),
        ("sealed", "1 failed, 3 skipped, 1 xfailed", 1),
        ("sealed,footage", "1 failed, 1 skipped, 1 xfailed, 2 errors", 1),
        ("sealed, footage", "1 failed, 1 skipped, 1 xfailed, 2 errors", 1),
        ("seeled", ", got seeled", 4),
    ],
)
def test_promises(tmp_path: Path, promise: str, summary: str, status: int) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  sealed: x\n  footage: x\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "VEILBOX_REQUIRE": promise},
        capture_output=True,
        text=True,
        check=False,
    )
    assert summary in finished.stdout + finished.stderr
    assert finished.returncode == status


def test_first_an_encoder_makes_this_process_a_real_time_one() -> None:
    with av.open(io.BytesIO(), "w", format="mp4") as film:
        stream = film.add_stream("libsvtav1", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        film.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        film.mux(stream.encode(None))


def test_then_it_is_an_ordinary_one_again() -> None:
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
