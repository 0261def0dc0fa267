"""The isolation scale: what each gate found, and the level that follows from it.

Gates are measured (`veilbox.seal` from inside a component, an observer from the host); this file only judges.
The scale is the design's: a level holds when every gate of it and of the levels below holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

from veilbox.core.frozen import frozen


class Level(IntEnum):
    """How strongly a component is walled off."""

    OPEN = 0
    SEPARATED = 1
    NO_EGRESS = 2
    UNPRIVILEGED = 3
    CONFINED = 4
    OWN_KERNEL = 5
    ATTESTED = 6

    @property
    def label(self) -> str:
        """The scale's word for the level."""
        return self.name.lower().replace("_", " ")


# Every gate by name and the level that it guards. A gate that a probe did not report counts as failed.
GATES: Mapping[str, Level] = {
    "pid-namespace": Level.SEPARATED,
    "mount-namespace": Level.SEPARATED,
    "network-namespace": Level.SEPARATED,
    "ipc-namespace": Level.SEPARATED,
    "uts-namespace": Level.SEPARATED,
    "own-processes-only": Level.SEPARATED,
    "root-read-only": Level.SEPARATED,
    "host-files-absent": Level.SEPARATED,
    "foreign-volumes-absent": Level.SEPARATED,
    "devices-absent": Level.SEPARATED,
    "interfaces-absent": Level.NO_EGRESS,
    "routes-absent": Level.NO_EGRESS,
    "loopback-canary": Level.NO_EGRESS,
    "routable-address": Level.NO_EGRESS,
    "ipv6-address": Level.NO_EGRESS,
    "abstract-socket-canary": Level.NO_EGRESS,
    "dns": Level.NO_EGRESS,
    "socket-families": Level.NO_EGRESS,
    "capabilities-empty": Level.UNPRIVILEGED,
    "no-new-privileges": Level.UNPRIVILEGED,
    "uid-not-root": Level.UNPRIVILEGED,
    "uid-range-own": Level.UNPRIVILEGED,
    "root-maps-to-nobody": Level.UNPRIVILEGED,
    "setuid-files-absent": Level.UNPRIVILEGED,
    "writable-not-executable": Level.UNPRIVILEGED,
    "read-only-descriptors": Level.UNPRIVILEGED,
    "seccomp-active": Level.CONFINED,
    "forbidden-calls-refused": Level.CONFINED,
    "allowed-calls-few": Level.CONFINED,
    "limits-bite": Level.CONFINED,
    "own-kernel": Level.OWN_KERNEL,
    "attested": Level.ATTESTED,
}

# Findings beside the gates, and the level that each guards; None: it tells, and caps
# nothing.
DEEP: Mapping[str, Level | None] = {
    "runtime-sockets-absent": Level.SEPARATED,
    "descriptors-closed": Level.SEPARATED,
    "environment-clean": Level.SEPARATED,
    "near-addresses": Level.NO_EGRESS,
    "abstract-names-absent": Level.NO_EGRESS,
    "shared-files-mute": Level.NO_EGRESS,
    "proc-leaks-absent": Level.UNPRIVILEGED,
    "sys-leaks-absent": Level.UNPRIVILEGED,
    "kernel-settings-read-only": Level.UNPRIVILEGED,
    "cgroup-read-only": Level.CONFINED,
    "keyrings-refused": Level.CONFINED,
    "kernel-surfaces-refused": Level.CONFINED,
    "terminal-absent": Level.CONFINED,
    "core-dumps-off": Level.CONFINED,
    "memory-not-executable": Level.CONFINED,
    "own-walls": Level.CONFINED,
    "kernel-identity": None,
}

# What a component may report of itself; the rest is the observer's, or not measured at all.
FROM_INSIDE = frozenset(
    {
        "own-processes-only",
        "root-read-only",
        "host-files-absent",
        "foreign-volumes-absent",
        "devices-absent",
        "interfaces-absent",
        "routes-absent",
        "loopback-canary",
        "routable-address",
        "ipv6-address",
        "abstract-socket-canary",
        "dns",
        "socket-families",
        "capabilities-empty",
        "no-new-privileges",
        "uid-not-root",
        "root-maps-to-nobody",
        "setuid-files-absent",
        "writable-not-executable",
        "read-only-descriptors",
        "seccomp-active",
        "forbidden-calls-refused",
        "allowed-calls-few",
        "limits-bite",
        "own-kernel",
        *DEEP,
    }
)


@frozen
class Gate:
    """One attempt and its outcome.

    Attributes:
        name: A key of `GATES`.
        tried: The attempt, as a person would say it.
        found: What happened: an errno's name, a count, a namespace number.
        held: Whether the wall stood.
    """

    name: str
    tried: str
    found: str
    held: bool


@frozen
class Measured:
    """A component's measured isolation.

    Attributes:
        level: The highest level whose gates all held.
        failed: The first gate, in the scale's order, that kept it from the next level; empty at the top.
        gates: Everything that was tried.
    """

    level: Level
    failed: str
    gates: tuple[Gate, ...]


def guarded(name: str) -> Level | None:
    """The level that falls with a gate or finding; None if it only tells."""
    return GATES.get(name) or DEEP.get(name)


def severity(name: str) -> str:
    """How much is lost with a gate or finding: `high` up to level 3, `medium` at 4, `low` above, else `info`."""
    level = guarded(name)
    if level is None:
        return "info"
    if level <= Level.UNPRIVILEGED:
        return "high"
    return "medium" if level == Level.CONFINED else "low"


def measure(gates: Iterable[Gate]) -> Measured:
    """The level that the gates support; a gate of the scale that is absent counts as failed.

    A gate reported twice, from inside and by the observer, holds only if both reports hold. Findings beside the scale
    count where they were reported.
    """
    tried = tuple(gates)
    names = {gate.name for gate in tried}
    broken = {gate.name for gate in tried if not gate.held}
    held = names - broken
    beside = [(name, level) for name, level in DEEP.items() if level is not None and name in names]
    for name, level in sorted([*GATES.items(), *beside], key=lambda pair: pair[1]):
        if name not in held:
            return Measured(level=Level(level - 1), failed=name, gates=tried)
    return Measured(level=Level.ATTESTED, failed="", gates=tried)
