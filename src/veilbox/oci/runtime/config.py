"""A component of the plan as an OCI runtime's config.json: pure, from values to a JSON-ready dictionary.

Source of every field: OCI runtime-spec 1.0.2, config.md and config-linux.md; the version that crun 1.8 and
runc 1.1 both take.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from veilbox.core.errors import MachineError
from veilbox.core.plan import Container, Limits, Mount
from veilbox.oci.runtime.dialect import DIALECTS, Dialect
from veilbox.oci.runtime.ids import USER, IdRange

_SPEC_VERSION = "1.0.2"
_CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
_NAMESPACES = ("pid", "mount", "network", "ipc", "uts", "cgroup", "user")

# Kernel interfaces that tell about the host or its other containers. Source: the list that Docker and Podman share.
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/locks",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# The scheduler's default period; a quota is given per period. Source: kernel, sched-bwc.rst.
_CPU_PERIOD_US = 100_000

# Open files: a component has three standard streams, its edges, a ring each, and the libraries it loads.
_OPEN_FILES = 1024

# What glibc reserves for the stack of a thread, by RLIMIT_STACK; nearly all of it is never touched.
_STACK_BYTES = 8 << 20

# What glibc reserves for a thread's own heap, and aligns it by: two heaps' worth. Source: glibc 2.36, malloc/arena.c,
# HEAP_MAX_SIZE on 64 bits.
_ARENA_BYTES = 128 << 20
# For libraries, models and rings, which are mapped and are not the component's own memory. gVisor bounds the whole of
# what is mapped and not the data in it.
_MAPPED_BYTES = 8 << 30

# The runtime sets RLIMIT_NPROC before it becomes the component's user, and then the limit counts every process and
# thread of the person who runs veilbox: with less room, fork fails before the container exists.
_NPROC_OF_OTHERS = 1024


def runtime_config(
    container: Container,
    *,
    rootfs: Path,
    mount_sources: Mapping[str, Path],
    ids: IdRange,
    cgroups_path: str | None,
    seccomp: Mapping[str, Any],
    hostname: str,
    rlimits: Mapping[str, int],
    network: Path | None = None,
    dialect: Dialect = DIALECTS["crun"],
) -> dict[str, Any]:
    """The config.json of one component.

    Args:
        container: What the plan says of it.
        rootfs: Where its image is mounted, read-only.
        mount_sources: For every volume it mounts, the folder outside.
        ids: Its host ids; both ids of the component's user must be mapped.
        cgroups_path: Its cgroup below the hierarchy's root; None where no cgroup is writable, then no limit of the
            plan can be set but those in `rlimits`.
        seccomp: The `linux.seccomp` object, from `veilbox.oci.runtime.seccomp`.
        hostname: What uname tells inside.
        rlimits: `RLIMIT_*` to bound, from `process_limits`.
        network: The network namespace to join, from `namespaces.pin_empty_network`; without it the runtime makes one,
            whose loopback is up.
        dialect: Of the runtime that will take it.

    Returns:
        A dictionary for `json.dumps`.

    Raises:
        MachineError: A volume has no folder, or an id no host id.
    """
    ids.host_id(USER)  # a user that is not mapped would run as the overflow id, which every container shares
    return {
        "ociVersion": _SPEC_VERSION,
        "process": _process(container, rlimits),
        "root": {"path": str(rootfs), "readonly": True},
        "hostname": hostname,
        "mounts": [
            *_kernel_mounts(),
            *_guest_mounts(dialect),
            *(_volume(mount, mount_sources) for mount in container.mounts),
        ],
        "linux": _linux(_with_own(container.limits, dialect), ids, cgroups_path, seccomp, network),
    }


def process_limits(limits: Limits, *, without_cgroup: bool = False) -> dict[str, int]:
    """The rlimits of a component: soft and hard alike, never above what this process may give.

    Args:
        limits: The plan's.
        without_cgroup: Bound processes too, which otherwise the cgroup does.

    Returns:
        By the names of getrlimit(2).
    """
    wanted = {
        "RLIMIT_NOFILE": _OPEN_FILES,
        "RLIMIT_CORE": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_STACK": _STACK_BYTES,
        "RLIMIT_DATA": limits.memory_bytes + limits.pids * _STACK_BYTES,
        "RLIMIT_AS": limits.memory_bytes + limits.pids * (_STACK_BYTES + _ARENA_BYTES) + _MAPPED_BYTES,
    }
    if limits.file_bytes is not None:
        wanted["RLIMIT_FSIZE"] = limits.file_bytes
    if without_cgroup:
        wanted["RLIMIT_NPROC"] = limits.pids + _NPROC_OF_OTHERS
    return {name: _at_most_hard(name, value) for name, value in wanted.items()}


def _at_most_hard(name: str, value: int) -> int:
    hard = resource.getrlimit(getattr(resource, name))[1] if hasattr(resource, name) else resource.RLIM_INFINITY
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def write_bundle(directory: Path, config: Mapping[str, Any]) -> None:
    """Write config.json into a bundle's folder.

    Raises:
        MachineError: It cannot be written.
    """
    path = directory / "config.json"
    try:
        path.write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
    except OSError as error:
        raise MachineError("bundle cannot be written", where=str(path), actual=error.strerror or "") from error


def _process(container: Container, rlimits: Mapping[str, int]) -> dict[str, Any]:
    return {
        "terminal": False,
        "user": {"uid": USER, "gid": USER, "umask": 0o022, "additionalGids": []},
        "args": list(container.args),
        "env": list(container.env),
        "cwd": "/",
        "capabilities": {name: [] for name in _CAPABILITY_SETS},
        "noNewPrivileges": True,
        "rlimits": [{"type": name, "soft": value, "hard": value} for name, value in sorted(rlimits.items())],
    }


def _kernel_mounts() -> list[dict[str, Any]]:
    return [
        {
            "destination": "/proc",
            "type": "proc",
            "source": "proc",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "noexec", "strictatime", "mode=755", "size=65536", "ro"],
        },
    ]


def _guest_mounts(dialect: Dialect) -> list[dict[str, Any]]:
    options = ["nosuid", "noexec", "nodev", "ro"]
    return [
        {"destination": path, "type": "tmpfs", "source": "tmpfs", "options": options} for path in dialect.guest_mounts
    ]


def _with_own(limits: Limits, dialect: Dialect) -> Limits:
    return replace(limits, pids=limits.pids + dialect.more_pids)


def _volume(mount: Mount, sources: Mapping[str, Path]) -> dict[str, Any]:
    if mount.volume not in sources:
        raise MachineError("volume is not mounted", where=mount.volume)
    return {
        "destination": mount.destination,
        "type": "bind",
        "source": str(sources[mount.volume]),
        "options": ["bind", "private", "nosuid", "nodev", "noexec", "ro" if mount.read_only else "rw"],
    }


def _namespace(name: str, network: Path | None) -> dict[str, Any]:
    joined = {"path": str(network)} if name == "network" and network is not None else {}
    return {"type": name} | joined


def _linux(
    limits: Limits, ids: IdRange, cgroups_path: str | None, seccomp: Mapping[str, Any], network: Path | None
) -> dict[str, Any]:
    id_lines = [{"containerID": line.container, "hostID": line.host, "size": line.size} for line in ids.lines]
    linux: dict[str, Any] = {
        "namespaces": [_namespace(name, network) for name in _NAMESPACES],
        "uidMappings": id_lines,
        "gidMappings": id_lines,
        "maskedPaths": list(_MASKED),
        "readonlyPaths": list(_READ_ONLY),
        "seccomp": dict(seccomp),
    }
    if cgroups_path is not None:
        linux |= {"cgroupsPath": cgroups_path, "resources": _resources(limits)}
    return linux


def _resources(limits: Limits) -> dict[str, Any]:
    return {
        "devices": [{"allow": False, "access": "rwm"}],
        "memory": {"limit": limits.memory_bytes, "swap": limits.memory_bytes},  # memory and swap together: no swap
        "pids": {"limit": limits.pids},
        "cpu": {"quota": max(1000, round(limits.cpus * _CPU_PERIOD_US)), "period": _CPU_PERIOD_US},
    }
