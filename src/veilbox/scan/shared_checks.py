"""Checks on mounts and images that are the same for every format."""

from __future__ import annotations

import re
from collections.abc import Iterator

from veilbox.scan.rule import Fault
from veilbox.scan.workload import Kind, Mounted, Workload

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\Z")

# CIS Docker Benchmark 5.6 names the first seven; the others hold what runs the node.
_SENSITIVE = (
    "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr", "/root", "/run", "/var/run", "/var/lib/docker",
    "/var/lib/containerd", "/var/lib/kubelet", "/var/log", "/home",
)  # fmt: skip
_SOCKETS = re.compile(r"(docker|containerd|crio|podman|buildkitd|dockershim|cri-dockerd)\.sock\Z")
_RUNTIME_FOLDERS = (
    "/run/containerd",
    "/run/docker",
    "/run/podman",
    "/run/crio",
    "/var/run/docker",
    "/var/run/containerd",
)
# A runtime makes these for each container.
_OF_THE_RUNTIME = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/shm"})  # noqa: S108 - compared, never used
_RINGS = "/rings/"


def host_paths(workload: Workload) -> Iterator[Fault]:
    """Paths of the host."""
    for _, mount in workload.mounts():
        if mount.kind is Kind.HOST and not _made_for_it(mount):
            yield Fault(mount.place, mount.source or mount.place.shown)


def _made_for_it(mount: Mounted) -> bool:
    return mount.destination in _OF_THE_RUNTIME or mount.destination.startswith(_RINGS)


def sensitive_paths(workload: Workload) -> Iterator[Fault]:
    """The host's system folders, whole or in part."""
    for _, mount in workload.mounts():
        if mount.kind is Kind.HOST and not _made_for_it(mount) and _sensitive(mount.source):
            yield Fault(mount.place, mount.source)


def _sensitive(source: str) -> bool:
    path = "/" + source.strip("/") if source.startswith("/") else ""
    return path == "/" or any(path == folder or path.startswith(f"{folder}/") for folder in _SENSITIVE)


def runtime_sockets(workload: Workload) -> Iterator[Fault]:
    """Sockets of container engines, or folders that hold them."""
    for _, mount in workload.mounts():
        source = mount.source.rstrip("/")
        if mount.kind is Kind.HOST and (_SOCKETS.search(source) or source in _RUNTIME_FOLDERS):
            yield Fault(mount.place, mount.source)


def propagation(workload: Workload) -> Iterator[Fault]:
    """Mounts that appear on the other side."""
    for _, mount in workload.mounts():
        if mount.propagation in {"shared", "rshared", "Bidirectional", "HostToContainer", "slave", "rslave"}:
            yield Fault(mount.place, mount.propagation)


def images_by_tag(workload: Workload) -> Iterator[Fault]:
    """Images named by something that can be moved to other content."""
    for container in workload.containers:
        if container.image.present and not _DIGEST.search(container.image.text):
            yield Fault(container.image, container.image.shown)
