"""A process's own use, where no control group tells."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veilbox.metrics.process_usage import process_usage


def test_this_process_has_used_something() -> None:
    usage = process_usage(os.getpid())
    assert usage is not None
    assert usage.cpu_s > 0
    assert usage.peak_resident_bytes > 1 << 20


def test_a_name_with_parentheses_and_spaces_does_not_shift_the_fields(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    fields = " ".join(str(number) for number in range(4, 53))
    (folder / "stat").write_text(f"7 (a) b) S {fields}\n")
    (folder / "status").write_text("Name:\ta\nVmHWM:\t  2048 kB\n")
    usage = process_usage(7, proc=tmp_path)
    assert usage is not None
    assert usage.cpu_s == (14 + 15) / os.sysconf("SC_CLK_TCK")
    assert usage.peak_resident_bytes == 2048 * 1024


@pytest.mark.parametrize("stat", [None, "", "7 (a) S 1", "7 (a) S " + "x " * 50])
def test_what_cannot_be_read_is_unknown(tmp_path: Path, stat: str | None) -> None:
    (tmp_path / "7").mkdir()
    if stat is not None:
        (tmp_path / "7" / "stat").write_text(stat)
    assert process_usage(7, proc=tmp_path) is None
