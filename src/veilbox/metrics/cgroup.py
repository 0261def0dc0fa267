"""What the kernel counted for a control group, for cgroup v1, v2 and machines that have both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Self

from veilbox.core.frozen import frozen

# The key under which the one v2 hierarchy is kept; v1 hierarchies go by their controller's name.
UNIFIED = ""

_PROC = Path("/proc")
_NANOSECONDS = 1e9
_MICROSECONDS = 1e6


@frozen
class Hierarchy:
    """One mounted hierarchy.

    Attributes:
        point: Where it is mounted.
        root: Which group of the hierarchy the mount shows as its root: `/`, or a container's own group.
    """

    point: Path
    root: PurePosixPath = field(default=PurePosixPath("/"))

    def folder(self, path: str) -> Path:
        """The folder of a group, given by its path from the hierarchy's root as /proc/PID/cgroup has it."""
        group = PurePosixPath("/") / path
        return self.point / (
            group.relative_to(self.root) if group.is_relative_to(self.root) else group.relative_to("/")
        )


@frozen
class Hierarchies:
    """Every hierarchy of a machine: by v1 controller, and under `UNIFIED` the v2 one."""

    by_controller: Mapping[str, Hierarchy]

    @classmethod
    def parse(cls, mountinfo: str) -> Self:
        """Find them in the text of /proc/PID/mountinfo; lines that are no cgroup mounts are skipped.

        Source: proc_pid_mountinfo(5). Of several mounts of one hierarchy the last is kept.
        """
        found: dict[str, Hierarchy] = {}
        for line in mountinfo.splitlines():
            before, _, after = line.partition(" - ")
            mine, theirs = before.split(" "), after.split(" ")
            if len(mine) < 5 or len(theirs) < 3 or theirs[0] not in {"cgroup", "cgroup2"}:
                continue
            hierarchy = Hierarchy(point=Path(mine[4]), root=PurePosixPath(mine[3]))
            names = [UNIFIED] if theirs[0] == "cgroup2" else theirs[2].split(",")
            found |= dict.fromkeys((name for name in names if name != "rw"), hierarchy)
        return cls(by_controller=found)

    @classmethod
    def here(cls) -> Self:
        """The hierarchies that this process sees; none where /proc tells nothing."""
        try:
            return cls.parse((_PROC / "self" / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))
        except OSError:
            return cls(by_controller={})


@frozen
class Usage:
    """What a group and all groups below it used; None for what this kernel does not tell.

    Attributes:
        cpu_s: Seconds of processor time, user and system.
        memory_peak_bytes: The most that was charged at once: anonymous memory, tmpfs pages and the page cache of
            files that the group touched first. The kernel's own high-water mark.
        anonymous_sampled_peak_bytes: The most anonymous and shared memory (tmpfs) that a sample saw. The kernel keeps
            no mark for it, so a peak between two samples is missed.
        io_read_bytes: From block devices; reads from the page cache are none.
        io_written_bytes: To block devices.
        pids_peak: The most threads and processes at once.
        oom_kills: Processes that the kernel ended for want of memory.
    """

    cpu_s: float | None
    memory_peak_bytes: int | None
    anonymous_sampled_peak_bytes: int | None
    io_read_bytes: int | None
    io_written_bytes: int | None
    pids_peak: int | None
    oom_kills: int | None


class Meter:
    """Reads one group's counters.

    Args:
        hierarchies: Where they are mounted.
        paths: The group's path in each hierarchy, by controller; see `at` and `of_process`.
    """

    def __init__(self, hierarchies: Hierarchies, paths: Mapping[str, str]) -> None:
        self._folders = {
            name: hierarchy.folder(paths[name])
            for name, hierarchy in hierarchies.by_controller.items()
            if name in paths
        }
        self._anonymous_peak: int | None = None

    @classmethod
    def at(cls, path: str, hierarchies: Hierarchies | None = None) -> Self:
        """A meter of the group that has the same path in every hierarchy, as runtimes make it from `cgroupsPath`."""
        found = hierarchies or Hierarchies.here()
        return cls(found, dict.fromkeys(found.by_controller, path))

    @classmethod
    def of_process(cls, pid: int, hierarchies: Hierarchies | None = None, *, proc: Path = _PROC) -> Self:
        """A meter of the groups that a process is in now.

        It measures nothing, None in every field, if the process is gone.

        Source: proc_pid_cgroup(5).
        """
        try:
            lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError:
            lines = []
        paths: dict[str, str] = {}
        for line in lines:
            _, names, path = line.split(":", 2)
            paths |= dict.fromkeys(names.split(","), path)
        return cls(hierarchies or Hierarchies.here(), paths)

    def sample(self) -> None:
        """Look at the anonymous and shared memory in use now; call it as often as the peak should be sharp."""
        now = self._anonymous()
        if now is not None:
            self._anonymous_peak = max(now, self._anonymous_peak or 0)

    def read(self) -> Usage:
        """Everything that was used so far. Read it before the runtime deletes the group; a read counts as a sample."""
        self.sample()
        read, written = self._io()
        return Usage(
            cpu_s=self._cpu(),
            memory_peak_bytes=self._number("memory", "memory.max_usage_in_bytes", "memory.peak"),
            anonymous_sampled_peak_bytes=self._anonymous_peak,
            io_read_bytes=read,
            io_written_bytes=written,
            pids_peak=self._number("pids", "pids.peak", "pids.peak"),
            oom_kills=self._oom_kills(),
        )

    def _cpu(self) -> float | None:
        nanoseconds = _whole(self._text("cpuacct", "cpuacct.usage"))
        if nanoseconds is not None:
            return nanoseconds / _NANOSECONDS
        microseconds = _fields(self._text(UNIFIED, "cpu.stat")).get("usage_usec")
        return None if microseconds is None else microseconds / _MICROSECONDS

    def _anonymous(self) -> int | None:
        # v1 counts a group's own pages and, under total_, those of the groups below it.
        old = _fields(self._text("memory", "memory.stat"))
        if "total_rss" in old:
            return old["total_rss"] + old.get("total_shmem", old.get("shmem", 0))
        new = _fields(self._text(UNIFIED, "memory.stat"))
        return new["anon"] + new.get("shmem", 0) if "anon" in new else None

    def _oom_kills(self) -> int | None:
        old = _fields(self._text("memory", "memory.oom_control")).get("oom_kill")
        return _fields(self._text(UNIFIED, "memory.events")).get("oom_kill") if old is None else old

    def _io(self) -> tuple[int | None, int | None]:
        """Bytes read and written, summed over the devices.

        Source: the kernel's admin-guide/cgroup-v1/blkio-controller.rst and cgroup-v2.rst, io.stat.
        """
        for name in ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"):
            old = self._text("blkio", name)
            if old is not None:
                words = [line.split() for line in old.splitlines()]
                return _sum(words, "Read"), _sum(words, "Write")
        new = self._text(UNIFIED, "io.stat")
        if new is None:
            return None, None
        pairs = [pair.split("=") for pair in new.split() if "=" in pair]
        return _sum(pairs, "rbytes"), _sum(pairs, "wbytes")

    def _number(self, controller: str, old: str, new: str) -> int | None:
        number = _whole(self._text(controller, old))
        return _whole(self._text(UNIFIED, new)) if number is None else number

    def _text(self, controller: str, file: str) -> str | None:
        folder = self._folders.get(controller)
        try:
            return None if folder is None else (folder / file).read_text(encoding="ascii")
        except OSError:
            return None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None


def _fields(text: str | None) -> dict[str, int]:
    return dict(_numbered((text or "").splitlines()))


def _numbered(lines: list[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        name, _, value = line.partition(" ")
        if value.isdecimal():
            yield name, int(value)


def _sum(words: list[list[str]], name: str) -> int:
    """The sum of the numbers that follow a name at the end of a line."""
    return sum(int(line[-1]) for line in words if len(line) >= 2 and line[-2] == name)
