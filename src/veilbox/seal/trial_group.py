"""Does a control group bite on this machine? Tried by a process of ours, in a group of the job made for it.

Beside what a component can try itself (`veilbox.seal.limits`): this shows that the kernel enforces the three bounds at
the very place where the components' groups are, and `bounds` that a component's group has the plan's. Nothing is
killed and nothing is printed by the kernel: memory that may be taken back at any time is charged like any other.
"""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from veilbox.core.frozen import frozen
from veilbox.core.isolation import Gate
from veilbox.seal import group_bounds
from veilbox.seal.group_bounds import is_v2

# What the trial may use, and what it tries. A Python that has just been forked writes about two megabytes.
_MEMORY_BYTES, _WRITTEN_BYTES, _STEP_BYTES = 6 << 20, 12 << 20, 1 << 20
# The least quota, of the longest usual period: a busy machine too gives a process twice as much within it.
_PERIOD_US, _QUOTA_US, _BURNT_S = 100_000, 1_000, 0.002
_FORK_PASSED, _UNTRIED = 1, 2

# By controller: files of v1 and of v2, with the trial's values.
_V1: Mapping[str, Mapping[str, object]] = {
    "memory": {"memory.limit_in_bytes": _MEMORY_BYTES},
    "pids": {"pids.max": 1},
    "cpu": {"cpu.cfs_period_us": _PERIOD_US, "cpu.cfs_quota_us": _QUOTA_US},
}
_V2: Mapping[str, Mapping[str, object]] = {
    "memory": {"memory.max": _MEMORY_BYTES},
    "pids": {"pids.max": 1},
    "cpu": {"cpu.max": f"{_QUOTA_US} {_PERIOD_US}"},
}


@frozen
class Bites:
    """Which bounds the kernel enforced when the trial went beyond them.

    Attributes:
        reason: Why the trial could not be made; empty if it was.
    """

    memory: bool = False
    pids: bool = False
    cpu: bool = False
    reason: str = ""


class Trial:
    """A trial that runs beside the start of the containers.

    Args:
        folders: The group's folder by controller, not there yet: `memory`, `pids`, `cpu`; on v2 the same one.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = {name: folders[name] for name in _V1 if name in folders}
        self._child = 0
        self._outcome: Bites | None = None if len(self._folders) == len(_V1) else Bites(reason="no control groups")

    def start(self) -> None:
        """Make the group and a process that goes beyond its bounds; it needs this process to have one thread."""
        if self._outcome is not None:
            return
        try:
            for folder in dict.fromkeys(self._folders.values()):
                folder.mkdir(parents=True)
            for name in ("memory", "pids"):
                _limit(name, self._folders[name])
        except OSError as error:
            self._outcome = Bites(reason=error.strerror or "unknown")
            self._remove()
            return
        self._child = os.fork()
        if self._child == 0:
            _try(self._folders)

    def outcome(self) -> Bites:
        """Wait for the process, a few hundredths of a second after its start, and read what the kernel counted."""
        if self._outcome is None:
            status = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
            self._outcome = self._counted(status)
            self._remove()
        return self._outcome

    def close(self) -> None:
        """End a process whose outcome nobody asked for; safe to call twice."""
        if self._child and self._outcome is None:
            with suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
            self.outcome()

    def _counted(self, status: int) -> Bites:
        if status not in {0, _FORK_PASSED}:
            return Bites(reason=f"the trial ended with {status}")
        memory, cpu = self._folders["memory"], self._folders["cpu"]
        hits = _field(memory / "memory.events", "max") if is_v2(memory) else _number(memory / "memory.failcnt")
        return Bites(memory=hits > 0, pids=status != _FORK_PASSED, cpu=_field(cpu / "cpu.stat", "nr_throttled") > 0)

    def _remove(self) -> None:
        """What stays is removed with the job's groups."""
        for folder in dict.fromkeys(self._folders.values()):
            with suppress(OSError):
                folder.rmdir()


def _limit(name: str, folder: Path) -> None:
    for file, value in (_V2 if is_v2(folder) else _V1)[name].items():
        _write(folder / file, str(value))


def _try(folders: Mapping[str, Path]) -> NoReturn:
    """The process: it goes into its groups, forks, writes and burns, and ends without unwinding."""
    status = _UNTRIED
    try:
        for folder in dict.fromkeys(folders.values()):
            _write(folder / "cgroup.procs", str(os.getpid()))
        status = _forking()
        _overfill()
        _limit("cpu", folders["cpu"])  # only now, or all before it would take its time
        _burn()
    except OSError:
        status = _UNTRIED
    finally:
        os._exit(status)


def _forking() -> int:
    try:
        child = os.fork()
    except OSError:
        return 0
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return _FORK_PASSED


def _overfill() -> None:
    """Write twice as much as is allowed; the kernel may take back what was written before, so it need not kill."""
    content = bytes(_STEP_BYTES)
    with mmap.mmap(-1, _WRITTEN_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for start in range(0, _WRITTEN_BYTES, _STEP_BYTES):
            memory[start : start + _STEP_BYTES] = content
            memory.madvise(mmap.MADV_FREE, start, _STEP_BYTES)


def _burn() -> None:
    begun = time.process_time()
    while time.process_time() - begun < _BURNT_S:
        pass


def bounds(folders: Mapping[str, Path], *, memory_bytes: int, pids: int, cpus: float, trial: Bites) -> Gate:
    """`limits-bite` as the host sees it: the component's group has the plan's bounds, and such bounds bite here.

    Args:
        folders: The component's group by controller.
        memory_bytes: The plan's bound of memory.
        pids: Of threads and processes.
        cpus: Of processors' worth of time.
        trial: What the kernel enforced.
    """
    in_force = {
        "memory": (_in_force(folders.get("memory"), group_bounds.memory_bytes), float(memory_bytes)),
        "pids": (_in_force(folders.get("pids"), group_bounds.pids), float(pids)),
        "cpu": (_in_force(folders.get("cpu"), group_bounds.processors), cpus),
    }
    loose = [name for name, (found, planned) in in_force.items() if found is None or found > planned * _ROUNDING]
    tried = [name for name in in_force if not getattr(trial, name)]
    return Gate(
        name="limits-bite",
        tried="read the bounds of the control group, go beyond such bounds in a group of the same job",
        found=", ".join(
            f"{name} {'unbounded' if found is None else f'{found:g}'}" for name, (found, _) in in_force.items()
        )
        + (f"; looser than planned: {' '.join(loose)}" if loose else "")
        + (f"; did not bite: {' '.join(tried)} {trial.reason}".rstrip() if tried else "; each bites"),
        held=not loose and not tried,
    )


# A quota is a whole number of microseconds, memory one of pages.
_ROUNDING = 1.01


def _in_force(folder: Path | None, read: Callable[[Path], float | None]) -> float | None:
    """A group that is not there or cannot be read bounds nothing."""
    with suppress(OSError, ValueError):
        return None if folder is None else read(folder)
    return None


def _number(path: Path) -> int:
    with suppress(OSError, ValueError):
        return int(path.read_text("ascii"))
    return 0


def _field(path: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        fields = dict(line.split() for line in path.read_text("ascii").splitlines())
        return int(fields.get(name, 0))
    return 0


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(text)
