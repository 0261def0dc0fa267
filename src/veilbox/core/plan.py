"""The pure description of a pod: what runs, what it sees, what it may use.

One plan renders to OCI runtime bundles, to a Kubernetes Pod and to a Compose file. Words are the OCI runtime-spec's
and Kubernetes'.
"""

from __future__ import annotations

from veilbox.core.digest import Digest
from veilbox.core.errors import UsageError
from veilbox.core.frozen import frozen


@frozen
class Volume:
    """Memory shared by the containers that mount it (a tmpfs; `emptyDir` with `medium: Memory`)."""

    name: str
    size_bytes: int


@frozen
class Mount:
    """One volume in one container. Never executable, never with devices or set-user-id."""

    volume: str
    destination: str
    read_only: bool


@frozen
class Limits:
    """What the kernel lets a container use.

    Attributes:
        memory_bytes: Anonymous memory and the tmpfs pages that it wrote first.
        pids: Threads and processes.
        cpus: Processors' worth of time.
        file_bytes: The largest regular file that it may write; None for no bound.
    """

    memory_bytes: int
    pids: int
    cpus: float
    file_bytes: int | None = None


@frozen
class Container:
    """One component of the pod.

    Attributes:
        name: The component's name; for detectors `detect-<model>`.
        image: The manifest's digest.
        args: The program and its arguments inside the image.
        env: Environment, `NAME=value`.
        mounts: The declared volumes; nothing else of the host is visible.
        limits: Bounds that the kernel enforces.
        syscalls: The seccomp allow-list; every other system call fails with EPERM.
        model: Digest of the model that a detector's image carries.
    """

    name: str
    image: Digest
    args: tuple[str, ...]
    env: tuple[str, ...]
    mounts: tuple[Mount, ...]
    limits: Limits
    syscalls: tuple[str, ...]
    model: Digest | None = None


@frozen
class Edge:
    """A connection from one producer to its consumers: a socket pair each and, if `volume` is set, a ring in it.

    `SUPERVISOR` may stand at either end, for boxes that leave the pod as numbers.
    """

    name: str
    producer: str
    consumers: tuple[str, ...]
    volume: str | None = None


SUPERVISOR = "supervisor"


@frozen
class Plan:
    """One pod.

    Raises:
        UsageError: An edge or mount names what the plan does not have, or a ring's volume is writable by anybody
            but its producer.
    """

    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...]
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        names = {container.name for container in self.containers}
        volumes = {volume.name for volume in self.volumes}
        for container in self.containers:
            for mount in container.mounts:
                if mount.volume not in volumes:
                    raise UsageError("mount of an unknown volume", where=container.name, actual=mount.volume)
        for edge in self.edges:
            ends = {edge.producer, *edge.consumers}
            if not ends <= names | {SUPERVISOR}:
                raise UsageError("edge to an unknown container", where=edge.name, actual=", ".join(sorted(ends)))
            if edge.volume is not None:
                self._check_ring(edge, edge.volume)

    def _check_ring(self, edge: Edge, volume: str) -> None:
        sees = {
            container.name: mount.read_only
            for container in self.containers
            for mount in container.mounts
            if mount.volume == volume
        }
        wanted = {edge.producer: False} | dict.fromkeys(edge.consumers, True)
        if sees != wanted:
            raise UsageError(
                "a ring's volume must be writable by its producer and read-only for its consumers alone",
                where=edge.name,
                expected=str(wanted),
                actual=str(sees),
            )

    def container(self, name: str) -> Container:
        """The container of that name."""
        return next(container for container in self.containers if container.name == name)
