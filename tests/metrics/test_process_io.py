from __future__ import annotations

import os
from pathlib import Path

import pytest

from veilbox.metrics.process_io import ProcessIo, process_io

TEXT = "rchar: 10\nwchar: 20\nsyscr: 1\nsyscw: 2\nread_bytes: 4096\nwrite_bytes: 512\ncancelled_write_bytes: 0\n"


def test_fields(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "io").write_text(TEXT)
    assert process_io(7, proc=tmp_path) == ProcessIo(
        read_chars=10, written_chars=20, read_bytes=4096, written_bytes=512
    )


@pytest.mark.parametrize("text", ["", "rchar: 1\n", "rchar: x\n", "\n"])
def test_what_is_incomplete_is_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "io").write_text(text)
    assert process_io(7, proc=tmp_path) is None


def test_a_process_that_is_gone_is_unknown(tmp_path: Path) -> None:
    assert process_io(7, proc=tmp_path) is None


def test_what_this_process_reads_is_counted() -> None:
    before = process_io(os.getpid())
    if before is None:
        pytest.skip("this kernel keeps no counters of input and output")
    assert len(Path(__file__).read_bytes()) > 0
    after = process_io(os.getpid())
    assert after is not None
    assert after.read_chars >= before.read_chars + Path(__file__).stat().st_size
