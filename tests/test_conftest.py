"""A promise of `VEILBOX_REQUIRE` turns a skip into a failure, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
        ("seeled", "expected some of sealed, footage, got seeled", 4),
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
