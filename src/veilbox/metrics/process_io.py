"""What one process read and wrote, from /proc/PID/io."""

from __future__ import annotations

from pathlib import Path

from veilbox.core.frozen import frozen

_PROC = Path("/proc")


@frozen
class ProcessIo:
    """Bytes since the process began, its ended threads included.

    Attributes:
        read_chars: Returned by read calls of every kind, from the page cache too; not what was mapped.
        written_chars: Passed to write calls.
        read_bytes: Fetched from storage.
        written_bytes: Sent to storage; tmpfs is none.

    Source: proc_pid_io(5).
    """

    read_chars: int
    written_chars: int
    read_bytes: int
    written_bytes: int


def process_io(pid: int, *, proc: Path = _PROC) -> ProcessIo | None:
    """Read a process's counters.

    Args:
        pid: In the caller's pid namespace.
        proc: Where proc is mounted.

    Returns:
        None if the process is gone, the kernel keeps no such counters or the caller may not see them.
    """
    try:
        text = (proc / str(pid) / "io").read_text(encoding="ascii")
        fields = {name: int(value) for name, _, value in (line.partition(":") for line in text.splitlines())}
        return ProcessIo(
            read_chars=fields["rchar"],
            written_chars=fields["wchar"],
            read_bytes=fields["read_bytes"],
            written_bytes=fields["write_bytes"],
        )
    except (OSError, ValueError, KeyError):
        return None
