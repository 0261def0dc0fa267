"""What a job could leave behind on this machine, and the components that run on it."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Leftovers:
    """Everything on this machine that a job of veilbox could leave behind.

    What belongs to a supervisor that lives is not left behind; other people may be at work here.
    """

    processes: frozenset[int]
    cgroups: frozenset[str]
    mounts: frozenset[str]
    run_folders: frozenset[str]
    canaries: frozenset[str]

    @classmethod
    def here(cls) -> Leftovers:
        """Look now."""
        # Of other people's jobs, one may end and another begin while we look.
        living = _living_jobs()
        groups = [str(path) for path in _cgroups()]
        folders = {job for root in _run_roots() for job in (root / "jobs").glob("*")}
        living |= _living_jobs()
        return cls(
            processes=frozenset(pid for pid in components() if not _supervised(pid)),
            cgroups=frozenset(path for path in groups if not any(job in path for job in living)),
            mounts=_mounts(),
            run_folders=frozenset(str(job) for job in folders if job.name not in living),
            canaries=frozenset(_forgotten_canaries()),
        )

    def __sub__(self, before: Leftovers) -> list[str]:
        """What is here and was not before."""
        return [
            *(f"process {pid}" for pid in self.processes - before.processes),
            *sorted(self.cgroups - before.cgroups),
            *sorted(self.mounts - before.mounts),
            *sorted(self.run_folders - before.run_folders),
            *sorted(self.canaries - before.canaries),
        ]


def components(supervisor: int | None = None) -> dict[int, str]:
    """Components that run on this machine, by host pid; those of one supervisor if it is given."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            words = _read(folder / "cmdline").split(b"\0")
            if b"veilbox.components" in words and supervisor in {None, parent_of(int(folder.name))}:
                found[int(folder.name)] = words[words.index(b"veilbox.components") + 1].decode()
    return found


def monitors(supervisor: int) -> list[int]:
    """Processes that watch over one supervisor: its forks, which bear its command line."""
    line = _read(Path(f"/proc/{supervisor}/cmdline"))
    found = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
    return [pid for pid in found if parent_of(pid) == supervisor and _read(Path(f"/proc/{pid}/cmdline")) == line]


def parent_of(pid: int) -> int:
    """The parent of a process; 0 if it is gone."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def _supervised(pid: int) -> bool:
    return b"veilbox" in _read(Path(f"/proc/{parent_of(pid)}/cmdline"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _cgroups() -> Iterator[Path]:
    # Every v1 controller and the v2 hierarchy, wherever it is mounted. Of our own leaf on v2 machines nothing is said:
    # it holds the supervisor and is made once.
    # A group may vanish while we look, which walk passes over.
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        yield from (
            Path(folder, name) for name in names if name.startswith("veilbox-") and name != "veilbox-supervisor"
        )


def _mounts() -> frozenset[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return frozenset(line for line in lines if "/veilbox" in line.split()[4])


def _run_roots() -> tuple[Path, ...]:
    return Path("/run/veilbox"), Path(f"/dev/shm/veilbox-{os.geteuid()}")  # noqa: S108 - looked at only


def _living_jobs() -> set[str]:
    return {job.name for root in _run_roots() for job in (root / "jobs").glob("*") if _locked(job)}


def _forgotten_canaries() -> Iterator[str]:
    """Whose process holds no lock. Asked of the kernel: a lock of ours would keep a monitor from removing the file."""
    locked = {line.split()[5].rpartition(":")[2] for line in Path("/proc/locks").read_text().splitlines()}
    for path in Path(tempfile.gettempdir()).glob("veilbox-canary-*"):
        with suppress(FileNotFoundError):
            if str(path.stat().st_ino) not in locked:
                yield str(path)


def _locked(job: Path) -> bool:
    try:
        with (job / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
