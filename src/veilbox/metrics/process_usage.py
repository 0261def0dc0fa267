"""What one process used, from /proc/PID: for machines where no control group may be made."""

from __future__ import annotations

import os
from pathlib import Path

from veilbox.core.frozen import frozen

_PROC = Path("/proc")
# proc_pid_stat(5): fields 14 and 15, counted from 1; what follows the program's name in parentheses starts at 3.
_UTIME, _STIME, _AFTER_NAME = 14, 15, 3


@frozen
class ProcessUsage:
    """Since the process began, its ended threads included.

    Attributes:
        cpu_s: User and system time.
        peak_resident_bytes: The most that was in memory at once, pages that it shares with others included.

    Source: proc_pid_stat(5) and proc_pid_status(5), `VmHWM`.
    """

    cpu_s: float
    peak_resident_bytes: int


def process_usage(pid: int, *, proc: Path = _PROC) -> ProcessUsage | None:
    """Read a process's counters.

    Args:
        pid: In the caller's pid namespace.
        proc: Where proc is mounted.

    Returns:
        None if the process is gone or the caller may not see it.
    """
    try:
        fields = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        ticks = int(fields[_UTIME - _AFTER_NAME]) + int(fields[_STIME - _AFTER_NAME])
        status = (proc / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
        peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
        return ProcessUsage(cpu_s=ticks / os.sysconf("SC_CLK_TCK"), peak_resident_bytes=int(peak) * 1024)
    except (OSError, ValueError, IndexError, StopIteration):
        return None
