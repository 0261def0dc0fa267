"""Both versions of the kernel's files say the same bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from veilbox.seal import group_bounds

# What the kernel shows where nothing is set, v1 in whole pages of 4096 bytes.
V1_OPEN = {
    "memory.limit_in_bytes": "9223372036854771712",
    "pids.max": "max",
    "cpu.cfs_quota_us": "-1",
    "cpu.cfs_period_us": "100000",
}
V2_OPEN = {"cgroup.controllers": "cpu memory pids", "memory.max": "max", "pids.max": "max", "cpu.max": "max 100000"}
V1_SET = V1_OPEN | {"memory.limit_in_bytes": "6291456", "pids.max": "7", "cpu.cfs_quota_us": "150000"}
V2_SET = V2_OPEN | {"memory.max": "6291456", "pids.max": "7", "cpu.max": "150000 100000"}


def group(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n", encoding="ascii")
    return folder


@pytest.mark.parametrize("files", [V1_SET, V2_SET], ids=["v1", "v2"])
def test_bounds_are_read(tmp_path: Path, files: dict[str, str]) -> None:
    folder = group(tmp_path, files)
    assert group_bounds.memory_bytes(folder) == 6291456
    assert group_bounds.pids(folder) == 7
    assert group_bounds.processors(folder) == 1.5


@pytest.mark.parametrize("files", [V1_OPEN, V2_OPEN], ids=["v1", "v2"])
def test_no_bound_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    folder = group(tmp_path, files)
    for read in (group_bounds.memory_bytes, group_bounds.pids, group_bounds.processors):
        assert read(folder) is None


@pytest.mark.parametrize("read", [group_bounds.memory_bytes, group_bounds.pids, group_bounds.processors])
def test_a_group_that_is_gone_is_an_error(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(OSError, match="No such file"):
        read(tmp_path)
