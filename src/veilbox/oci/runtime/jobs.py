"""The run directory: one locked folder per job, and the sweep that removes what dead supervisors left.

A supervisor's mounts die with it; its containers, cgroups and folder do not. The folder's lock is free exactly when
its supervisor is dead, so the next start can tell, kill and remove.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from veilbox.core.errors import MachineError
from veilbox.oci.runtime.cgroups import Layout, Place, end_processes, remove_tree
from veilbox.oci.runtime.dialect import PROCESS_NOTE
from veilbox.oci.runtime.mounts import mount_points, unmount

_LOCK = "lock"
_GUARD = "guard"
_CGROUPS = "cgroups.json"

# Others may pass through, for a container's user must reach its mounts, but not look around. Set by chmod, because a
# umask would take it away.
_PASSABLE = 0o711

# A create that was under way when its supervisor died may bring forth one more process after the first look.
_SWEEP_ROUNDS = 20


class Job:
    """A job's folder, held by a lock until `close` or the end of this process.

    Attributes:
        job_id: 8 hexadecimal digits.
        path: The folder.
        place: Where the job's cgroups lie.
    """

    def __init__(self, job_id: str, path: Path, lock: int, place: Place) -> None:
        self.job_id = job_id
        self.path = path
        self.place = place
        self._lock = lock

    @property
    def runtime_root(self) -> Path:
        """Where the OCI runtime keeps its state."""
        return self.path / "runtime"

    def container_id(self, name: str) -> str:
        """The container's id: no two jobs' are equal."""
        return f"veilbox-{self.job_id}-{name}"

    def cgroups_path(self, name: str) -> str | None:
        """The container's `linux.cgroupsPath`; None where limits cannot be enforced."""
        return self.place.path(self.job_id, name)

    def bundle(self, name: str) -> Path:
        """A container's bundle folder, made if it is not there."""
        return _made(self.path / "bundles" / name)

    def mount_point(self, name: str) -> Path:
        """A folder to mount on, made if it is not there."""
        return _made(self.path / "mounts" / name)

    def network(self, name: str) -> Path:
        """Where a container's network namespace is pinned; not made here."""
        return self.mount_point("").joinpath(f"network-{name}")

    def close(self) -> None:
        """Remove the job's cgroups and its folder, and free the lock. Delete its containers before.

        Raises:
            MachineError: Something stays.
        """
        if self._lock < 0:
            return
        try:
            self.place.remove(self.job_id)
            _remove_folder(self.path)
        finally:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Resident:
    """A container of a job that runs.

    Attributes:
        job_id: The job's.
        name: The component's.
        config: Its bundle's config.json.
        notes: The folder of what the runtime keeps of it.
        pid: Its first process, in this process's pid namespace.
    """

    job_id: str
    name: str
    config: Path
    notes: Path
    pid: int


class RunDirectory:
    """Where the folders of all jobs of one user lie.

    Args:
        path: Made, for this user alone, if it is not there.

    Raises:
        MachineError: It cannot be made, or belongs to somebody else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids = path / "ids"
        self._jobs = path / "jobs"
        try:
            owner = _private_folder(path).st_uid
        except OSError as error:
            raise MachineError("run directory cannot be made", where=str(path), actual=error.strerror or "") from error
        if owner != os.geteuid():
            raise MachineError("run directory belongs to somebody else", where=str(path), actual=f"owner {owner}")
        _made(self.ids)
        _made(self._jobs)

    @classmethod
    def here(cls) -> Self:
        """The run directory of this user; call it before `enter_private_namespaces`, where every user looks like root.

        `/run/veilbox` for root, otherwise `/dev/shm/veilbox-<uid>`. Not `$XDG_RUNTIME_DIR`: nobody but its owner may
        pass through that, and a container's first process, whose root is another user, has to reach its mounts.
        """
        uid = os.geteuid()
        if uid == 0:
            return cls(Path("/run/veilbox"))
        memory = Path("/dev/shm")  # noqa: S108 - gone after a restart like the processes noted in it; owner is checked
        base = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
        return cls(base / f"veilbox-{uid}")

    def open_job(self, place: Place | None = None, *, job_id: str | None = None) -> Job:
        """Make and lock a folder for a new job.

        Args:
            place: From `cgroups.place`; without it no container of the job gets a cgroup.
            job_id: From `new_job_id`, where it has to be known beforehand.

        Raises:
            MachineError: It cannot be made.
        """
        place = Place(layout=Layout.ABSENT) if place is None else place
        job_id = job_id or new_job_id()
        path = self._jobs / job_id
        try:
            with self._guard():
                path.mkdir()
                lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_EXCL, 0o600)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.chmod(_PASSABLE)
            (path / _CGROUPS).write_text(json.dumps([str(f) for f in place.job_folders(job_id)]), encoding="utf-8")
        except OSError as error:
            raise MachineError("job's folder cannot be made", where=str(path), actual=error.strerror or "") from error
        return Job(job_id, path, lock, place)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Between making a job's folder and locking it nobody may sweep."""
        descriptor = os.open(self.path / _GUARD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def residents(self) -> tuple[Resident, ...]:
        """The containers of jobs whose supervisor lives; nothing is changed.

        Raises:
            MachineError: The folder cannot be read.
        """
        try:
            with self._guard():
                held = [path for path in sorted(self._jobs.iterdir()) if _is_held(path)]
        except OSError as error:
            raise MachineError("cannot look for jobs", where=str(self.path), actual=error.strerror or "") from error
        return tuple(one for path in held for one in _residents_of(path))

    def sweep(self) -> tuple[str, ...]:
        """Remove what supervisors that were killed left: processes, cgroups and folders.

        Call it before `enter_private_namespaces`: without root only the outer user may signal those containers.

        Returns:
            The ids of the jobs that were removed.

        Raises:
            MachineError: Something cannot be removed.
        """
        try:
            with self._guard():
                return tuple(path.name for path in sorted(self._jobs.iterdir()) if _swept(path))
        except OSError as error:
            raise MachineError("cannot look for old jobs", where=str(self.path), actual=error.strerror or "") from error

    def bury(self, job_id: str) -> bool:
        """Remove what one supervisor that was killed left.

        Its lock may be held for a moment longer: by a child that it had forked and that had not yet become a runtime.

        Returns:
            Whether there was anything.

        Raises:
            MachineError: Something cannot be removed.
        """
        path = self._jobs / job_id
        try:
            return _swept(path, wait=True)
        except OSError as error:
            raise MachineError("cannot remove a job", where=str(path), actual=error.strerror or "") from error


def new_job_id() -> str:
    """A name that no other job has: 8 hexadecimal digits."""
    return secrets.token_hex(4)


def _swept(path: Path, *, wait: bool = False) -> bool:
    try:
        # Never made here: its supervisor may be removing the folder, which must not fill again under its hands.
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _removed_empty(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    else:
        _end_containers(path)
        for folder in _cgroups_of(path):
            remove_tree(folder)
        _remove_folder(path)
        return True
    finally:
        os.close(lock)


def _removed_empty(path: Path) -> bool:
    """Remove a folder without a lock: the lock is made first and goes last, so nothing else can be in it."""
    try:
        path.rmdir()
    except FileNotFoundError:  # its own supervisor was faster
        return False
    return True


def _end_containers(path: Path) -> None:
    for _ in range(_SWEEP_ROUNDS):
        pids = {*_first_processes(path), *_runtimes_at_work(path)}
        if not pids:
            return
        end_processes(pids)
    raise MachineError("containers of a dead supervisor do not end", where=str(path), advice="Run veilbox again")


def _is_held(path: Path) -> bool:
    """Whether a job's supervisor lives; the lock is asked for and given back at once."""
    try:
        lock = os.open(path / _LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _first_processes(path: Path) -> Iterator[int]:
    return (pid for _, pid in (*_residents(path), *_noted(path.glob(f"runtime/*/{PROCESS_NOTE}"))))


def _residents(path: Path) -> Iterator[tuple[str, int]]:
    """Ids and first processes that still live, by the runtime's notes; a start time tells one from a stranger."""
    for kind in ("status", "state.json"):
        yield from _noted(path.glob(f"runtime/*/{kind}"))


def _noted(notes: Iterable[Path]) -> Iterator[tuple[str, int]]:
    for note in notes:
        with suppress(OSError, ValueError, TypeError):
            state = json.loads(note.read_text(encoding="utf-8"))
            pid = state.get("pid") or state.get("init_process_pid")
            started = state.get("process-start-time") or state.get("init_process_start")
            if pid and _start_time(int(pid)) == int(started):
                yield note.parent.name, int(pid)


def _residents_of(path: Path) -> Iterator[Resident]:
    prefix = f"veilbox-{path.name}-"
    for container_id, pid in sorted(_residents(path)):
        name = container_id.removeprefix(prefix)
        yield Resident(
            job_id=path.name,
            name=name,
            config=path / "bundles" / name / "config.json",
            notes=path / "runtime" / container_id,
            pid=pid,
        )


def _start_time(pid: int) -> int:
    """Clock ticks from boot to the start of a process; -1 if it is gone or only waits to be buried. Source: proc(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in {"Z", "X"} else int(fields[19])


def _runtimes_at_work(path: Path) -> Iterator[int]:
    """Runtimes, and first processes before their start, whose command line names the job's folder as their state."""
    root = os.fsencode(path / "runtime")
    words = {root, b"--root=" + root}  # gVisor's sandboxes and gofers are told of it so, and run until they are ended
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and entry.name != str(os.getpid()):
            with suppress(OSError):
                if words.intersection((entry / "cmdline").read_bytes().split(b"\0")):
                    yield int(entry.name)


def _cgroups_of(path: Path) -> list[Path]:
    try:
        noted = json.loads((path / _CGROUPS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    # The name is checked because removal kills: a folder of another name is none of ours.
    return [Path(folder) for folder in noted if Path(folder).name == f"veilbox-{path.name}"]


def _private_folder(path: Path) -> os.stat_result:
    with suppress(FileExistsError):
        path.mkdir(parents=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if found.st_uid == os.geteuid():
        path.chmod(_PASSABLE)
    return found


def _made(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(_PASSABLE)
        path.parent.chmod(_PASSABLE)
    except OSError as error:
        raise MachineError("folder cannot be made", where=str(path), actual=error.strerror or "") from error
    return path


def _remove_folder(path: Path) -> None:
    try:
        for mounted in mount_points(path):
            unmount(mounted)
        for entry in tuple(path.iterdir()):
            if entry.name != _LOCK:
                _remove(entry)
        (path / _LOCK).unlink()  # last: who is killed before leaves a folder that the next sweep knows by it
        path.rmdir()
    except FileNotFoundError:  # a sweep took the empty folder
        return
    except OSError as error:
        raise MachineError("job's folder cannot be removed", where=str(path), actual=error.strerror or "") from error


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
