"""What is common to a Kubernetes pod, a Compose file and an OCI config.json: containers, their mounts and images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from veilbox.scan.tree import Place


class Format(StrEnum):
    """Whose configuration it is."""

    KUBERNETES = "kubernetes"
    COMPOSE = "compose"
    OCI = "oci"


class Kind(StrEnum):
    """Where a mount's content lives."""

    HOST = "host"  # a path of the host
    VOLUME = "volume"  # storage with a name
    MEMORY = "memory"  # gone with the container, or shared within the pod
    SECRET = "secret"  # noqa: S105 - a kind
    KERNEL = "kernel"  # /proc, /sys, /dev and the like


@dataclass(frozen=True, kw_only=True, slots=True)
class Mounted:
    """One mount of one container.

    Attributes:
        place: Where it is written.
        kind: Where the content lives.
        source: The host's path, or the volume's name.
        destination: The path inside.
        read_only: Whether the container cannot write it.
        propagation: Mounts made on one side that appear on the other; empty for none.
        options: Words of mount(8), where the format has them.
    """

    place: Place
    kind: Kind
    source: str
    destination: str
    read_only: bool
    propagation: str = ""
    options: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Contained:
    """One container.

    Attributes:
        place: Where it is written.
        name: What the file calls it.
        words: Its command and arguments, as far as the file tells.
        image: Where its image is named; missing in an OCI bundle.
        mounts: What it sees beside its root.
    """

    place: Place
    name: str
    words: tuple[str, ...]
    image: Place
    mounts: tuple[Mounted, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A unit of configuration: one pod, one Compose file, one bundle.

    Attributes:
        format: Whose.
        name: `Pod/camera`, `compose`, `bundle`.
        root: The document, or the item of a list.
        spec: The pod's spec, the services, or the document again.
        containers: In the file's order.
        labels: Of the pod.
        annotations: Places that may hold suppressions for all of it.
        peers: NetworkPolicy objects from all files that are scanned together.
    """

    format: Format
    name: str
    root: Place
    spec: Place
    containers: tuple[Contained, ...]
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[Place, ...] = ()
    peers: tuple[Place, ...] = ()

    def mounts(self) -> Iterator[tuple[Contained, Mounted]]:
        """Every mount with its container."""
        for container in self.containers:
            for mount in container.mounts:
                yield container, mount
