"""Where the cgroups of a job lie, on machines of every cgroup layout, and how they are removed. Files only.

A job's cgroups are `veilbox-<job>/<container>` below the hierarchy's root, or below our own cgroup where only that
is delegated to us (`systemd-run --user --scope -p Delegate=yes veilbox ...`).
"""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from veilbox.core.errors import MachineError

# Without any of these three a container's limits would not bite.
_NEEDED = ("memory", "pids", "cpu")

_LEAF = "veilbox-supervisor"
_END_WAIT_MS = 5000


class Layout(StrEnum):
    """Which cgroups a machine mounts."""

    V1 = "v1"
    V2 = "v2"
    HYBRID = "hybrid"
    ABSENT = "absent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hierarchies:
    """The cgroup mounts that this process sees.

    Attributes:
        v1: Mount point by controller; named hierarchies without a controller as `name=...`.
        v2: The v2 hierarchy's mount point.
    """

    v1: Mapping[str, Path]
    v2: Path | None

    @property
    def layout(self) -> Layout:
        """The word for it."""
        if self.v1:
            return Layout.HYBRID if self.v2 else Layout.V1
        return Layout.V2 if self.v2 else Layout.ABSENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a job's cgroups go.

    Attributes:
        layout: The machine's, as this process sees it.
        controllers: For each controller the folder in which cgroups may be made; empty where none may.
        folders: Every folder in which a runtime makes cgroups, those of other controllers included.
        prefix: Our part of the path below a mount point; empty at the root.
    """

    layout: Layout
    controllers: Mapping[str, Path] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    prefix: str = ""

    @property
    def limited(self) -> bool:
        """Whether the plan's limits can be enforced."""
        return bool(self.controllers)

    def path(self, job_id: str, container: str) -> str | None:
        """The container's `linux.cgroupsPath`; None where limits cannot be enforced."""
        job = self.job_path(job_id)
        return None if job is None else f"{job}/{container}"

    def job_path(self, job_id: str) -> str | None:
        """The group of all of a job's containers, in the same terms; None where limits cannot be enforced."""
        return f"{self.prefix}/veilbox-{job_id}" if self.limited else None

    def directories(self, job_id: str, container: str) -> dict[str, Path]:
        """By controller, the folder with the container's counters; on v2 the same one for all."""
        return {name: base / f"veilbox-{job_id}" / container for name, base in self.controllers.items()}

    def job_folders(self, job_id: str) -> tuple[Path, ...]:
        """Every folder that a job's containers may have made."""
        return tuple(base / f"veilbox-{job_id}" for base in self.folders) if self.limited else ()

    def remove(self, job_id: str) -> None:
        """Remove the job's cgroups and kill what still runs in them; nothing happens where there are none.

        Raises:
            MachineError: One stays.
        """
        for folder in self.job_folders(job_id):
            remove_tree(folder)


def hierarchies(mountinfo: str) -> Hierarchies:
    """The cgroup mounts in the text of a /proc/PID/mountinfo.

    Source: proc(5): fields before ` - ` are per mount, after it file system type, source and its options. The last
    mount of a place covers the earlier ones.
    """
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for mount_point, kind, options in _mounts(mountinfo):
        if v2 == mount_point:
            v2 = None
        v1 = {name: path for name, path in v1.items() if path != mount_point}
        if kind == "cgroup2":
            v2 = mount_point
        elif kind == "cgroup":
            v1 |= dict.fromkeys(_controllers(options), mount_point)
    return Hierarchies(v1=v1, v2=v2)


def _mounts(mountinfo: str) -> Iterator[tuple[Path, str, str]]:
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        before, after = left.split(), right.split()
        if len(before) >= 5 and len(after) >= 3:
            yield Path(before[4].encode().decode("unicode_escape")), after[0], after[2]


def _controllers(options: str) -> list[str]:
    # Flags of the hierarchy stand between its controllers. Source: kernel, cgroup1_show_options().
    flags = {"rw", "ro", "none", "noprefix", "xattr", "clone_children", "cpuset_v2_mode", "favordynmods"}
    words = [word for word in options.split(",") if word not in flags]
    return [word for word in words if not word.startswith("release_agent=")]


def own_v2_path(proc_cgroup: str) -> str:
    """This process's cgroup in the v2 hierarchy, from the text of /proc/self/cgroup; `/` if it is in none."""
    for line in proc_cgroup.splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::")
    return "/"


def place() -> Place:
    """Where this process may make cgroups; call it after `enter_private_namespaces`.

    On a machine with cgroup v2 this enables the memory, pids and cpu controllers for children, and moves this process
    to a leaf below its own cgroup where the kernel asks for that.
    """
    found = hierarchies(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace"))
    if found.v1:
        return _place_v1(found)
    if found.v2 is not None:
        return _place_v2(found.v2, own_v2_path(Path("/proc/self/cgroup").read_text(encoding="utf-8")))
    return Place(layout=Layout.ABSENT)


def _place_v1(found: Hierarchies) -> Place:
    writable = {name: path for name, path in found.v1.items() if os.access(path, os.W_OK)}
    if not all(name in writable for name in _NEEDED):
        return Place(layout=found.layout)
    folders = tuple(dict.fromkeys(found.v1.values()))
    controllers = {name: path for name, path in writable.items() if not name.startswith("name=")}
    return Place(layout=found.layout, controllers=controllers, folders=folders)


def _place_v2(root: Path, own: str) -> Place:
    for prefix in dict.fromkeys(("", own.rstrip("/"))):
        folder = root / prefix.lstrip("/")
        if _may_make_cgroups(folder) and _enable(folder):
            return Place(
                layout=Layout.V2,
                controllers=dict.fromkeys((*_NEEDED, "cpuacct"), folder),
                folders=(folder,),
                prefix=prefix,
            )
    return Place(layout=Layout.V2)


def _may_make_cgroups(folder: Path) -> bool:
    needed = (folder, folder / "cgroup.procs", folder / "cgroup.subtree_control")
    return all(os.access(path, os.W_OK) for path in needed)


def _enable(folder: Path) -> bool:
    """Hand the needed controllers to the cgroup's children."""
    control = folder / "cgroup.subtree_control"
    try:
        if set(_NEEDED) <= set(control.read_text(encoding="ascii").split()):
            return True
        try:
            _write(control, "+memory +pids +cpu")
        except OSError as error:
            if error.errno != errno.EBUSY:
                return False
            _step_down(folder)  # a cgroup with processes of its own may not have controlled children
            _write(control, "+memory +pids +cpu")
    except OSError:
        return False
    return True


def _step_down(folder: Path) -> None:
    leaf = folder / _LEAF
    leaf.mkdir(exist_ok=True)
    for pid in (folder / "cgroup.procs").read_text(encoding="ascii").split():
        with suppress(ProcessLookupError):
            _write(leaf / "cgroup.procs", pid)


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(text)


def remove_tree(folder: Path) -> None:
    """Remove a cgroup and those below it, killing what runs in them.

    Raises:
        MachineError: One stays.
    """
    children = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True) if folder.is_dir() else []
    try:
        for child in (*children, folder):
            _remove_one(child)
    except OSError as error:
        raise MachineError(
            "cgroup cannot be removed",
            where=str(error.filename or folder),
            actual=error.strerror or "",
            advice="Look for its processes in cgroup.procs",
        ) from error


def _remove_one(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        end_processes(map(int, (folder / "cgroup.procs").read_text(encoding="ascii").split()))
        folder.rmdir()


def end_processes(pids: Iterable[int]) -> None:
    """Kill processes and wait, a bounded time, until each has ended."""
    handles: list[int] = []
    for pid in pids:
        with suppress(ProcessLookupError):
            handles.append(os.pidfd_open(pid))
    try:
        for handle in handles:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        for handle in handles:
            waiter = select.poll()
            waiter.register(handle, select.POLLIN)
            waiter.poll(_END_WAIT_MS)
            with suppress(ChildProcessError):  # ours to bury only if it was orphaned to us
                os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)
    finally:
        for handle in handles:
            os.close(handle)
