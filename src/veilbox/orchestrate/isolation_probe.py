"""The walls of every component, measured without footage: the job's own pod, started, probed and ended."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from veilbox.core.isolation import Measured, guarded, severity
from veilbox.core.policy import Policy
from veilbox.oci.image.store import ImageStore
from veilbox.oci.runtime.dialect import KNOWN as KNOWN_RUNTIMES
from veilbox.orchestrate.anonymize import FIXED
from veilbox.orchestrate.machine import engine
from veilbox.orchestrate.plan import anonymize_plan, detectors, second_detectors
from veilbox.orchestrate.pod import Pod
from veilbox.seal.canary import planted


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeFinding:
    """One attempt of one component, or the host's look at it.

    Attributes:
        id: A gate of the scale, or a finding beside it.
        component: Which made it.
        tried: The attempt.
        happened: The kernel's answer.
        held: Whether the wall stood.
        severity: `high`, `medium`, `low` or `info`.
        caps: The highest level that can be had without it; None if it only tells.
    """

    id: str
    component: str
    tried: str
    happened: str
    held: bool
    severity: str
    caps: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What a probe found.

    Attributes:
        runtime: Name and version.
        kernel: The host's release.
        components: By name, what its findings support.
    """

    runtime: str
    kernel: str
    components: Mapping[str, Measured]

    @property
    def findings(self) -> tuple[ProbeFinding, ...]:
        """Every attempt, component by component."""
        return tuple(
            ProbeFinding(
                id=gate.name,
                component=name,
                tried=gate.tried,
                happened=gate.found,
                held=gate.held,
                severity=severity(gate.name),
                caps=_capped(gate.name),
            )
            for name, measured in self.components.items()
            for gate in measured.gates
        )


def _capped(name: str) -> int | None:
    level = guarded(name)
    return None if level is None else int(level) - 1


def probe_isolation(
    store: ImageStore, *, runtimes: Sequence[str] = KNOWN_RUNTIMES, policy: Policy | None = None
) -> Probe:
    """Start the pod of an anonymising job, let every component try its walls, and end it.

    Args:
        store: Component images.
        runtimes: Those that may be taken, the preferred one first.
        policy: Decides which components there are; the default one if None.

    Raises:
        ImageError: An image is missing or stale.
        MachineError: No such runtime is usable.
        ComponentError: A component died before it had answered.
    """
    asked = policy or Policy()
    names = detectors(asked)
    second = second_detectors(asked)
    with engine(store, FIXED, detect=lambda _: dict.fromkeys(names), second=second, runtimes=runtimes) as machine:
        plan = anonymize_plan(asked, machine.programs, cpus=machine.cpus, detect=names)
        with planted() as canaries, Pod(plan, machine.launcher, asked, canaries) as pod:
            pod.await_ready()
            components = {name: member.measured for name, member in pod.members.items()}
            runtime = machine.launcher.runtime
    return Probe(runtime=runtime, kernel=os.uname().release, components=components)
