"""A pod whose components are played: what they say is written by the test, what they hear can be read."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from veilbox.core.control import Canaries, FromComponent, Heartbeat, Hello, Probed, Ready, ToComponent
from veilbox.core.digest import Digest
from veilbox.core.errors import ComponentDied, ComponentHung
from veilbox.core.isolation import FROM_INSIDE, GATES, Gate
from veilbox.core.plan import Plan
from veilbox.core.policy import Policy
from veilbox.orchestrate import pod as pod_module
from veilbox.orchestrate.audit_log import LogFolder
from veilbox.orchestrate.launcher import Cost, Launched, Root
from veilbox.orchestrate.plan import Program, anonymize_plan
from veilbox.orchestrate.pod import Pod
from veilbox.transport.control import ComponentControl, SupervisorControl

NAMES = ("ingest", "detect-centerface", "anonymize", "export", "verify", "second-centerface", "audit")
# What a plan may ask for besides: claim where the policy has it.
_IMAGES = (*NAMES, "claim")
PROGRAMS = {name: Program(image=Digest.of(name.encode()), args=("python3",), env=()) for name in _IMAGES}
CANARIES = Canaries(path="/nowhere", tcp_port=1, abstract_socket="none")
# Every gate up to level 3 held, as a component reports its own, and as the observer reports the rest.
_UP_TO_3 = [Gate(name=name, tried="", found="", held=True) for name, level in GATES.items() if level <= 3]
GATES_HELD = tuple(gate for gate in _UP_TO_3 if gate.name in FROM_INSIDE)
SEEN_FROM_HOST = tuple(gate for gate in _UP_TO_3 if gate.name not in FROM_INSIDE)
# How far the clock goes at each look at it.
TICK_S = 0.01


def log_folder(root: Path) -> LogFolder:
    """A log in which nothing stands yet."""
    segment(root).parent.mkdir(parents=True)
    segment(root).touch()
    return LogFolder(root=root, names=bytes(32))


def segment(root: Path) -> Path:
    """The file of such a log that takes entries."""
    return root / "entries" / f"{0:020d}.jsonl"


@dataclass
class Actor:
    """One component: its end of the control socket, and the end of a pipe that stands for its process."""

    control: ComponentControl
    raw: socket.socket
    life: int
    status: int | None = None

    def hear(self) -> list[tuple[ToComponent, list[int]]]:
        """Every message that has arrived."""
        return list(iter(self.control.receive, None))

    def say(self, *messages: FromComponent) -> None:
        """Send messages."""
        for message in messages:
            self.control.send(message)

    def die(self, status: int) -> None:
        """End as a process does: sockets closed, status told."""
        self.status = status
        self.control.close()
        os.close(self.life)
        self.life = -1


@dataclass
class Played:
    """The supervisor's side of an actor; see `Launched`."""

    name: str
    control: SupervisorControl
    actor: Actor
    process: int
    rings: dict[str, str]
    root: Root | None = None
    create_ms: float = 0.0
    start_ns: int = 0
    printed: str = ""
    spent: Cost = field(default_factory=Cost)
    ended: bool = False

    def fileno(self) -> int:
        return self.process

    def exit_status(self) -> int | None:
        return self.actor.status

    def last_words(self) -> str:
        return self.printed

    def observe(self) -> tuple[Gate, ...]:
        return SEEN_FROM_HOST

    def cost(self) -> Cost:
        return self.spent

    def end(self) -> None:
        self.ended = True


class Stage:
    """A launcher whose components do only what a test has them do.

    Attributes:
        stopped: How often the pod was ended.
    """

    runtime = "played"

    def __init__(self) -> None:
        self.actors: dict[str, Actor] = {}
        self.played: dict[str, Played] = {}
        self.stopped = 0

    def __getitem__(self, name: str) -> Actor:
        return self.actors[name]

    def launch(self, plan: Plan) -> dict[str, Launched]:
        for container in plan.containers:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            process, life = os.pipe()
            actor = Actor(ComponentControl(theirs), theirs, life)
            rings = {mount.volume: mount.destination for mount in container.mounts}
            played = Played(container.name, SupervisorControl(ours, container.name), actor, process, rings)
            self.actors[container.name], self.played[container.name] = actor, played
        return dict(self.played)

    # What the detectors say that they know.
    classes: tuple[str, ...] = ("face",)

    def memory_peak_bytes(self) -> int | None:
        return None

    def stop(self) -> None:
        self.stopped += 1
        for one in self.played.values():
            one.control.close()
            os.close(one.process)
            one.actor.control.close()
            if one.actor.life >= 0:
                os.close(one.actor.life)
        self.played.clear()

    def enter(self) -> None:
        """Every component introduces itself and is ready."""
        for name, actor in self.actors.items():
            for _, fds in actor.hear():
                for fd in fds:
                    os.close(fd)
            stride = 32 if name.startswith(("detect", "second")) else 0
            actor.say(Hello(component=name, first_ns=1, imported_ns=2), Probed(gates=GATES_HELD))
            actor.say(Ready(ready_ns=3, classes=self.classes if stride else (), stride=stride))

    def beat(self, *but: str) -> None:
        """Every component but some says that it lives."""
        for name, actor in self.actors.items():
            if name not in but and actor.control.fileno() >= 0:
                with suppress(ComponentDied, ComponentHung):
                    actor.say(Heartbeat(item=0, frames=0))


class Clock:
    """Time that goes on by a tick whenever somebody looks, and by as much as a test says."""

    def __init__(self) -> None:
        self._ticks = itertools.count()
        self._leapt_s = 0.0

    def monotonic(self) -> float:
        return next(self._ticks) * TICK_S + self._leapt_s

    def leap(self, seconds: float) -> None:
        """Let time pass."""
        self._leapt_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The pod's time, which no test waits for."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(pod_module, "_LOOK_S", 0)
    return clock


def pod_on(
    stage: Stage,
    policy: Policy = Policy(deadline_s=2),  # noqa: B008 - a frozen value
) -> Pod:
    """The anonymising pod, played on a stage."""
    return Pod(anonymize_plan(policy, PROGRAMS, cpus=2), stage, policy, CANARIES)


def look(pod: Pod, stage: Stage, *but: str, times: int = 1000) -> Iterator[tuple[str, FromComponent]]:
    """Look often, while every component but some beats."""
    for _ in range(times):
        stage.beat(*but)
        yield from pod.poll()
