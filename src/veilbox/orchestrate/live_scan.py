"""The containers of running jobs, looked at from the host: what they were planned to be, and what they are.

Nothing is changed, and nobody is asked but the kernel: /proc, the control groups, the runtime's notes of its processes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from veilbox.core.errors import UsageError
from veilbox.metrics.cgroup import UNIFIED, Hierarchies
from veilbox.oci.runtime.jobs import Resident, RunDirectory
from veilbox.scan.drift import DRIFT, Running, SeenMount, allowed_calls, drifted
from veilbox.scan.reading import parse
from veilbox.scan.rule import Finding, Profile
from veilbox.scan.rules import RULES
from veilbox.scan.scanner import Scanned, Unreadable, scan
from veilbox.scan.suppression import Suppression, apply
from veilbox.scan.tree import Place
from veilbox.seal import group_bounds
from veilbox.seal.mounts import parse as parse_mounts

_PROC = Path("/proc")
_KINDS = ("pid", "net", "mnt", "ipc", "uts", "user", "cgroup")
_UNLIMITED = 1 << 63
# A container that has just been created is still its runtime, with the runtime's rights, or has not yet laid its own
# walls: what drifts is looked at again. Interpreters start in a tenth of it on an idle machine.
_STARTING_S = 5.0
_AGAIN_S = 0.05

# libcontainer's configs.Action. Source: runc 1.1, libcontainer/configs/config.go.
_RUNC_ALLOWS = 4

_T = TypeVar("_T")


def scan_live(run: RunDirectory, *, suppressions: Sequence[Suppression] = (), today: date) -> Scanned:
    """Judge every container that a living supervisor of this user runs now.

    Its config.json is held against the veilbox profile, and the container against its config.json.

    Args:
        run: The user's run directory.
        suppressions: From a file.
        today: For suppressions that end.

    Raises:
        MachineError: The run directory cannot be read.
    """
    residents = run.residents()
    files = {}
    for resident in residents:
        with suppress(OSError):  # ended meanwhile
            files[str(resident.config)] = resident.config.read_bytes()
    planned = scan(files, Profile.VEILBOX, named=files, suppressions=suppressions, today=today)
    found, unreadable = _drift(residents, files, suppressions, today)
    used = {line for line in suppressions for finding in (*planned.findings, *found) if line.covers(finding, today)}
    return replace(
        planned,
        findings=(*planned.findings, *found),
        unreadable=(*planned.unreadable, *unreadable),
        idle=tuple(line for line in suppressions if line not in used),
    )


def known_rules() -> list[str]:
    """Ids that a suppression may name here."""
    return [rule.id for rule in RULES] + [rule.id for rule, _ in DRIFT]


def _drift(
    residents: Sequence[Resident], files: Mapping[str, bytes], suppressions: Sequence[Suppression], today: date
) -> tuple[list[Finding], list[Unreadable]]:
    found: list[Finding] = []
    unreadable: list[Unreadable] = []
    end = time.monotonic() + _STARTING_S
    for resident in residents:
        file = str(resident.config)
        try:
            place = Place.root(parse(files[file])[0])
        except (KeyError, IndexError):
            unreadable.append(Unreadable(file=file, reason=f"{resident.name} runs and its config.json is not there."))
            continue
        except UsageError:
            continue  # the scan of the file has said so
        peers = {one.name: one.pid for one in residents if one.job_id == resident.job_id and one is not resident}
        lasting = _lasting(file, place, resident, peers, end)
        found += [apply(finding, suppressions, (), today) for finding in lasting]
    return found, unreadable


def _lasting(file: str, planned: Place, resident: Resident, peers: Mapping[str, int], end: float) -> list[Finding]:
    """The drift that is still there when starts are over, or when the container ended."""
    last: list[Finding] = []
    while True:
        found = list(drifted(file, planned, look(resident.pid, peers, notes=resident.notes)))
        if not _is_there(resident.pid):
            return last
        if not found or time.monotonic() > end:
            return found
        last = found
        time.sleep(_AGAIN_S)


def _is_there(pid: int) -> bool:
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in {"Z", "X"}


def look(pid: int, peers: Mapping[str, int], proc: Path = _PROC, notes: Path | None = None) -> Running:
    """What the kernel says of a process.

    Args:
        pid: In this process's pid namespace.
        peers: The job's other containers.
        proc: Where proc is mounted.
        notes: The folder of what the runtime keeps of the container.
    """
    mine = proc / str(pid)
    unseen: dict[str, str] = {}

    def seen(what: str, read: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return read()
        except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
            unseen[what] = (error.strerror or "") if isinstance(error, OSError) else type(error).__name__
            return otherwise

    def namespaces() -> dict[str, int]:
        return {kind: _number(mine, kind) for kind in _KINDS}

    return Running(
        namespaces=seen("namespaces", namespaces, {}),
        elsewhere={kind: _elsewhere(proc, kind, peers) for kind in _KINDS},
        status=seen("status", lambda: _status(mine), {}),
        id_map=seen("ids", lambda: _id_map(mine), ()),
        mounts=seen("mounts", lambda: _mounts(mine), {}),
        interfaces=seen("interfaces", lambda: _interfaces(mine), ()),
        routes=seen("routes", lambda: max(0, len((mine / "net/route").read_text("ascii").splitlines()) - 1), 0),
        limits=seen("limits", lambda: _limits(mine), {}),
        cgroup=seen("control group", lambda: _cgroup(mine), {}),
        words=seen("command line", lambda: _words(mine), ()),
        sources=seen("the supervisor's mounts", lambda: _sources(proc, mine), {}),
        filter=None if notes is None else seen("the runtime's notes", lambda: _filter(notes), None),
        masked=frozenset(str(path) for path in (proc / "kcore", proc / "keys", proc / "sys") if path.exists()),
        unseen=unseen,
    )


def _number(process: Path, kind: str) -> int:
    link = (process / "ns" / kind).readlink().name
    return int(link.partition("[")[2].removesuffix("]"))


def _elsewhere(proc: Path, kind: str, peers: Mapping[str, int]) -> dict[str, int]:
    """Numbers of everybody else who may be looked at; without root the host's first process may not."""
    others = {"the host": 1, "this process": os.getpid(), **peers}
    numbers = {}
    for who, pid in others.items():
        with suppress(OSError, ValueError):
            numbers[who] = _number(proc / str(pid), kind)
    return numbers


def _status(process: Path) -> dict[str, str]:
    text = (process / "status").read_text("utf-8", "replace")
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    if not {"Uid", "Seccomp", "NoNewPrivs", "CapEff"} <= fields.keys():
        raise ValueError(process)
    return fields


def _id_map(process: Path) -> tuple[tuple[int, int, int], ...]:
    rows = [[int(word) for word in line.split()] for line in (process / "uid_map").read_text("ascii").splitlines()]
    return tuple((inside, outside, count) for inside, outside, count in rows)


def _mounts(process: Path) -> dict[str, SeenMount]:
    found = parse_mounts((process / "mountinfo").read_text("utf-8", "surrogateescape"))
    return {point: SeenMount(point=point, options=one.options, origin=one.origin) for point, one in found.items()}


def _sources(proc: Path, process: Path) -> dict[str, str]:
    """Origins of all mounts of the process's parent: a container's is the supervisor."""
    parent = (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1]
    text = (proc / parent / "mountinfo").read_text("utf-8", "surrogateescape")
    return {point: one.origin for point, one in parse_mounts(text).items()}


def _filter(notes: Path) -> dict[str, int] | None:
    """What the runtime says that it lets pass: crun keeps a copy of the config.json, runc its own form of it."""
    for name, read in _NOTES.items():
        if (notes / name).is_file():
            return read(json.loads((notes / name).read_bytes()))
    return None


def _crun_filter(kept: Any) -> dict[str, int]:
    rules = kept.get("linux", {}).get("seccomp", {}).get("syscalls", [])
    return allowed_calls(
        (name, rule["action"] == "SCMP_ACT_ALLOW", len(rule.get("args", [])))
        for rule in rules
        for name in rule["names"]
    )


def _runc_filter(kept: Any) -> dict[str, int]:
    rules = (kept["config"].get("seccomp") or {}).get("syscalls", [])
    return allowed_calls((rule["name"], rule["action"] == _RUNC_ALLOWS, len(rule["args"] or [])) for rule in rules)


# crun first: its folder has a file `status`, and runc's none of that name.
_NOTES: Mapping[str, Callable[[Any], dict[str, int]]] = {"config.json": _crun_filter, "state.json": _runc_filter}


def _interfaces(process: Path) -> tuple[str, ...]:
    lines = (process / "net/dev").read_text("ascii", "replace").splitlines()[2:]
    return tuple(line.partition(":")[0].strip() for line in lines)


def _limits(process: Path) -> dict[str, int]:
    """Names are of several words; soft, hard and a unit follow. Source: proc_pid_limits(5)."""
    rows = (process / "limits").read_text("ascii").splitlines()[1:]
    return {row[:26].strip(): _bound(row[26:].split()[1]) for row in rows}


def _bound(word: str) -> int:
    return _UNLIMITED if word == "unlimited" else int(word)


def _cgroup(process: Path) -> dict[str, int | None]:
    groups = _groups(process)
    readers = {"memory": group_bounds.memory_bytes, "pids": group_bounds.pids, "cpu": _share}
    found: dict[str, int | None] = {}
    for name, read in readers.items():
        folder = groups.get(name) or groups.get(UNIFIED)
        with suppress(OSError, ValueError):
            if folder is not None:
                found[name] = read(folder)
    return found


def _share(folder: Path) -> int | None:
    """Microseconds of processor time in a second."""
    processors = group_bounds.processors(folder)
    return None if processors is None else round(processors * 1_000_000)


def _groups(process: Path) -> dict[str, Path]:
    """The process's groups by v1 controller, and under `UNIFIED` the v2 one, as far as they are mounted here."""
    hierarchies = Hierarchies.here().by_controller
    paths: dict[str, str] = {}
    for line in (process / "cgroup").read_text("utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    return {name: hierarchy.folder(paths[name]) for name, hierarchy in hierarchies.items() if name in paths}


def _words(process: Path) -> tuple[str, ...]:
    data = (process / "cmdline").read_bytes()
    return tuple(os.fsdecode(word) for word in data.removesuffix(b"\0").split(b"\0")) if data else ()
