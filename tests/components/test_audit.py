"""The log's lines: chained, durable, and never half written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from veilbox.components.audit import GENESIS, append
from veilbox.core.errors import OutputError


@pytest.fixture
def log(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "log.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    yield fd
    os.close(fd)


def _lines(log: int) -> list[bytes]:
    return os.pread(log, 1 << 20, 0).splitlines(keepends=True)


def test_each_line_holds_the_digest_of_the_one_before(log: int) -> None:
    told = [append(log, json.dumps({"event": name})) for name in ("job", "release", "release")]
    assert [index for index, _ in told] == [0, 1, 2]
    previous = GENESIS
    for line, (_, digest) in zip(_lines(log), told, strict=True):
        assert json.loads(line)["previous"] == previous
        previous = f"sha256:{hashlib.sha256(line).hexdigest()}"
        assert digest == previous


def test_a_log_that_ends_within_an_entry_is_kept_as_evidence(log: int) -> None:
    append(log, '{"event":"job"}')
    os.write(log, b'{"entry":{"ev')
    before = os.pread(log, 1 << 20, 0)
    with pytest.raises(OutputError, match="middle of an entry"):
        append(log, '{"event":"release"}')
    assert os.pread(log, 1 << 20, 0) == before


def test_a_full_disk_leaves_the_log_as_it_was(log: int, monkeypatch: pytest.MonkeyPatch) -> None:
    append(log, '{"event":"job"}')
    before = os.pread(log, 1 << 20, 0)
    real = os.write

    def short(fd: int, data: bytes) -> int:
        return real(fd, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OutputError, match=os.strerror(errno.ENOSPC)):
        append(log, '{"event":"release"}')
    monkeypatch.undo()
    assert os.pread(log, 1 << 20, 0) == before
    assert append(log, '{"event":"release"}')[0] == 1
