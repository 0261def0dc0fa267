"""veilbox's own rules: who may see what. They are asked of pods that hold veilbox's components.

The words are those of a plan (`veilbox.core.plan`, `veilbox.orchestrate.plan`): rings are mounted at `/rings/NAME`;
beside them a pod may mount the source at `/source`, the staging folder at `/output`, and the log with its key at `/log`
and `/keys`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from veilbox.scan import compose, kubernetes, oci_config
from veilbox.scan.rule import Fault
from veilbox.scan.workload import Contained, Format, Kind, Mounted, Workload

_NAMES = re.compile(r"(ingest|anonymize|export|claim|verify|audit|(detect|second)(-[a-z0-9-]+)?)\Z")
_RINGS = "/rings/"

# Who may see a ring, the design's "least sight"; the first is its producer and alone writes it. `detect` stands for
# every detector, `second` for every one that verify asks. Source: the design's way of the data, ADR 0005.
_SIGHT: Mapping[str, tuple[str, ...]] = {
    "raw": ("ingest", "anonymize"),
    "analysis": ("ingest", "detect"),
    "clean": ("anonymize", "export"),
    "second": ("verify", "second"),
}
_SOURCE = "/source"
_OUTPUT = "/output"
_KEPT_BY_AUDIT = ("/log", "/key", "/keys")


def component(container: Contained) -> str:
    """Which component a container runs; empty for anybody else's.

    It is one if its command says `veilbox.components NAME`, or if it bears a component's name and its image or program
    says veilbox.
    """
    words = container.words
    if "veilbox.components" in words[:-1]:
        return words[words.index("veilbox.components") + 1]
    known = _NAMES.match(container.name)
    return container.name if known and "veilbox" in container.image.text else ""


def _ours(workload: Workload) -> Iterator[tuple[str, Contained]]:
    for container in workload.containers:
        name = component(container)
        if name:
            yield name, container


def _rings(workload: Workload) -> Iterator[tuple[str, str, Mounted]]:
    """Component, ring, mount: for everybody who mounts a ring beside a component of ours."""
    if not any(_ours(workload)):
        return
    for container, mount in workload.mounts():
        if mount.destination.startswith(_RINGS):
            yield _family(component(container)), PurePosixPath(mount.destination).name, mount


def _family(name: str) -> str:
    family = name.partition("-")[0]
    return family if family in ("detect", "second") else name


def ring_seen(workload: Workload) -> Iterator[Fault]:
    """A ring in a container that must not see it."""
    for name, ring, mount in _rings(workload):
        if ring in _SIGHT and name not in _SIGHT[ring]:
            yield Fault(mount.place, f"{ring} in {name or 'a stranger'}")


def ring_writable(workload: Workload) -> Iterator[Fault]:
    """A ring that one of its readers can write."""
    for name, ring, mount in _rings(workload):
        readers = _SIGHT.get(ring, ("", name))[1:]
        if name in readers and not mount.read_only:
            yield Fault(mount.place, f"{ring} writable in {name}")


def source_writable(workload: Workload) -> Iterator[Fault]:
    """The footage in a container that could change it."""
    for name, container in _ours(workload):
        for mount in container.mounts:
            if _is_source(name, mount) and not mount.read_only:
                yield Fault(mount.place, mount.destination)


def source_seen(workload: Workload) -> Iterator[Fault]:
    """The footage in a container other than ingest."""
    for container, mount in workload.mounts():
        name = component(container)
        if _is_at(mount, _SOURCE) and any(_ours(workload)) and name != "ingest":
            yield Fault(mount.place, f"{mount.destination} in {name or container.name}")


def _is_at(mount: Mounted, folder: str) -> bool:
    return mount.destination == folder or mount.destination.startswith(f"{folder}/")


def _is_source(name: str, mount: Mounted) -> bool:
    lasting = mount.kind in {Kind.HOST, Kind.VOLUME} and not mount.destination.startswith(_RINGS)
    return _is_at(mount, _SOURCE) or (name == "ingest" and lasting)


def shared_path(workload: Workload) -> Iterator[Fault]:
    """Source and output in one folder, or one inside the other."""
    sources = [mount for name, container in _ours(workload) for mount in container.mounts if _is_source(name, mount)]
    for name, container in _ours(workload):
        for mount in container.mounts:
            written = _is_at(mount, _OUTPUT) or (name in {"export", "claim", "verify"} and not mount.read_only)
            if written and any(_overlap(mount, source) for source in sources):
                yield Fault(mount.place, mount.source)


def _overlap(one: Mounted, other: Mounted) -> bool:
    if not one.source or one.kind is not other.kind or one.destination.startswith(_RINGS):
        return False
    if one.kind is not Kind.HOST:
        return one.source == other.source
    mine, theirs = PurePosixPath(one.source), PurePosixPath(other.source)
    return mine.is_relative_to(theirs) or theirs.is_relative_to(mine)


def key_outside_audit(workload: Workload) -> Iterator[Fault]:
    """A secret, the log or its key in a container other than audit."""
    if not any(_ours(workload)):
        return
    for container in workload.containers:
        name = component(container)
        if name == "audit":
            continue
        for mount in container.mounts:
            if mount.kind is Kind.SECRET or any(_is_at(mount, folder) for folder in _KEPT_BY_AUDIT):
                yield Fault(mount.place, f"{mount.destination} in {name or container.name}")
        for variable in container.place.get("env").each():
            if variable.get("valueFrom", "secretKeyRef").present:
                yield Fault(variable, f"{variable.get('name').text} in {name or container.name}")


def network(workload: Workload) -> Iterator[Fault]:
    """A network beside footage."""
    ours = dict(_ours(workload))
    if not ours:
        return
    if workload.format is Format.KUBERNETES:
        if not kubernetes.closed_by_policy(workload):
            yield Fault(workload.spec, "no NetworkPolicy among these files closes the pod in both directions")
    elif workload.format is Format.COMPOSE:
        for container in ours.values():
            mode = container.place.get("network_mode")
            if not compose.without_network(container.place):
                yield Fault(mode, mode.shown)
    else:
        yield from _bundle_network(workload)


def _bundle_network(workload: Workload) -> Iterator[Fault]:
    if oci_config.shares_host_network(workload):
        yield Fault(workload.spec.get("namespaces"), "the host's network")
    for hook in oci_config.network_hooks(workload):
        yield Fault(hook, f"a hook that can plug in a network: {hook.get('path').shown}")
