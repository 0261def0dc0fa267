"""The bounds that a control group sets, of either version of the kernel's interface.

Source: the kernel's documentation, admin-guide/cgroup-v1 (memory.rst, pids.rst), scheduler/sched-bwc.rst and
admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from pathlib import Path

# Only groups of v2 have this file.
_V2_MARK = "cgroup.controllers"
# v1 shows the largest number of whole pages for no limit, v2 the word `max`, and v1's quota -1.
_LEAST_UNLIMITED = 1 << 62


def is_v2(folder: Path) -> bool:
    """Is this a group of the second version?"""
    return (folder / _V2_MARK).exists()


def memory_bytes(folder: Path) -> int | None:
    """The bound of memory; None for none.

    Raises:
        OSError: The group is gone, or may not be read.
        ValueError: The kernel says something that is no number.
    """
    return _bound(_text(folder / ("memory.max" if is_v2(folder) else "memory.limit_in_bytes")))


def pids(folder: Path) -> int | None:
    """The bound of processes and threads; None for none, errors as for `memory_bytes`."""
    return _bound(_text(folder / "pids.max"))


def processors(folder: Path) -> float | None:
    """The bound of processor time, in processors; None for none, errors as for `memory_bytes`."""
    if is_v2(folder):
        quota, period = _text(folder / "cpu.max").split()
    else:
        quota, period = (_text(folder / f"cpu.cfs_{word}_us") for word in ("quota", "period"))
    bound = _bound(quota)
    return None if bound is None else bound / int(period)


def _bound(word: str) -> int | None:
    number = -1 if word == "max" else int(word)
    return number if 0 <= number < _LEAST_UNLIMITED else None


def _text(file: Path) -> str:
    return file.read_text("ascii").strip()
