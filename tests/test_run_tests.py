"""Two runs of pytest are one to who reads them: every test once, one sum, one status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "run_tests.py"

SUITE = """
import pytest

@pytest.mark.sealed
def test_with(): pass

@pytest.mark.sealed
def test_with_too(): pytest.skip("why")

def test_without(): assert {without}
"""


def ran(folder: Path, *arguments: str, without: str = "True") -> tuple[int, str]:
    (folder / "test_suite.py").write_text(SUITE.format(without=without))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = sealed: starts containers\naddopts = -p no:cacheprovider\n")
    finished = subprocess.run(
        [sys.executable, SCRIPT, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return finished.returncode, finished.stdout


def test_every_test_runs_once(tmp_path: Path) -> None:
    status, output = ran(tmp_path, "-v")
    assert status == 0
    assert [output.count(f"::{name} ") for name in ("test_with", "test_with_too", "test_without")] == [1, 1, 1]
    assert output.splitlines()[-1].startswith("=== 2 passed, 1 skipped in ")


def test_a_failure_of_either_run_is_the_whole_ones(tmp_path: Path) -> None:
    status, output = ran(tmp_path, without="False")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "assert False" in output
    assert output.splitlines()[-1].startswith("=== 1 passed, 1 skipped, 1 failed in ")


def test_a_run_that_is_killed_has_failed(tmp_path: Path) -> None:
    status, _ = ran(tmp_path, without="__import__('os').kill(__import__('os').getpid(), 9)")
    assert status == pytest.ExitCode.INTERNAL_ERROR


@pytest.mark.parametrize(
    ("word", "status", "end"),
    [
        ("test_without", 0, "=== 1 passed in "),
        ("test_nowhere", pytest.ExitCode.NO_TESTS_COLLECTED, "=== no tests ran in "),
    ],
)
def test_a_choice_may_leave_a_run_without_tests(tmp_path: Path, word: str, status: int, end: str) -> None:
    found, output = ran(tmp_path, "-k", word)
    assert found == status
    assert output.splitlines()[-1].startswith(end)


def test_who_chooses_by_marker_gets_one_run(tmp_path: Path) -> None:
    status, output = ran(tmp_path, "-m", "sealed")
    assert status == 0
    assert "1 passed, 1 skipped, 1 deselected" in output
    assert "side by side" not in output
