"""A running pod: the conversation with its components, their deadlines and their measured walls.

A component that dies, hangs or reports a fault raises here, and leaving the context ends every container: there is no
way on.
"""

from __future__ import annotations

import math
import select
import selectors
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import NoReturn, Self

from veilbox.core.control import (
    Canaries,
    Configure,
    EdgeEnd,
    Faulted,
    Finish,
    Finished,
    FromComponent,
    Heartbeat,
    Hello,
    Probed,
    Ready,
    ToComponent,
)
from veilbox.core.errors import ComponentDied, ComponentHung, IsolationError, ProtocolError, VeilboxError
from veilbox.core.isolation import FROM_INSIDE, Gate, Measured, measure
from veilbox.core.plan import SUPERVISOR, Plan
from veilbox.core.policy import Policy
from veilbox.metrics.clock import distance_ns, shift_ns
from veilbox.orchestrate.interruption import uninterrupted
from veilbox.orchestrate.launcher import Cost, Launched, Launcher
from veilbox.orchestrate.plan import RING_BYTES
from veilbox.transport import channel as edge_channel
from veilbox.transport.channel import Channel

# How long one look at the sockets waits; deadlines are whole seconds.
_LOOK_S = 0.1
# Until it is ready a component has this long whatever the deadline: importing takes a second of a processor that is
# its own, and it cannot tell of itself meanwhile.
_START_S = 10.0
# Messages of one component in one look. A component that sends without end must not keep us from the others.
_AT_A_LOOK = 64
# The kernel closes a dead process's edges in an order of its own, so a neighbour may complain of it before we see it.
_CULPRIT_S = 1.0
# YOLO's strides go to 64; above this the least picture would be larger than most films.
_MOST_STRIDE = 256
_RELEASED = "Nothing unfinished was released"


@dataclass(kw_only=True, slots=True)
class Member:
    """One component as the supervisor knows it."""

    launched: Launched
    last_seen_s: float
    hello: Hello | None = None
    ready: Ready | None = None
    gates: tuple[Gate, ...] = ()
    shift_ns: int = 0
    progress: tuple[int, int] = (0, 0)
    finished: bool = False
    lost: bool = False
    dismissed: bool = False
    ended: bool = False
    cost: Cost = field(default_factory=Cost)

    @property
    def measured(self) -> Measured:
        """The isolation that its own attempts and the host's eye support."""
        return measure(self.gates)


class Pod:
    """Starts a plan's components, and ends them on every path.

    Args:
        plan: What to run.
        launcher: How to run it.
        policy: Sent to every component.
        canaries: What no component may reach.
    """

    def __init__(self, plan: Plan, launcher: Launcher, policy: Policy, canaries: Canaries) -> None:
        self._plan = plan
        self._launcher = launcher
        self._policy = policy
        self._canaries = canaries
        self._selector = selectors.DefaultSelector()
        # Only time spent looking counts: while this process works, or is stopped, the components may wait for it.
        self._still_s = 0.0
        self._complaint: tuple[float, VeilboxError] | None = None
        self._ended = False
        self.launch_ns = 0
        self.members: dict[str, Member] = {}
        self.boxes: dict[str, Channel] = {}

    def __enter__(self) -> Self:
        self.launch_ns = time.monotonic_ns()
        try:
            with uninterrupted():
                self._launch()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every component; safe to call twice."""
        with uninterrupted():
            if not self._ended:
                self._ended = True
                self._selector.close()
                for channel in self.boxes.values():
                    channel.close()
                self._launcher.stop()

    def _launch(self) -> None:
        for name, launched in self._launcher.launch(self._plan).items():
            self.members[name] = Member(launched=launched, last_seen_s=time.monotonic())
            self._selector.register(launched.control.fileno(), selectors.EVENT_READ, ("control", name))
            if launched.fileno() >= 0:
                self._selector.register(launched.fileno(), selectors.EVENT_READ, ("process", name))
        self._configure()

    def _configure(self) -> None:
        """Make the edges' socket pairs and hand each component its ends."""
        ends: dict[str, list[tuple[EdgeEnd, socket.socket]]] = {name: [] for name in (*self.members, SUPERVISOR)}
        for edge in self._plan.edges:
            for consumer in edge.consumers:
                left, right = edge_channel.pair()
                for name, peer, end in ((edge.producer, consumer, left), (consumer, edge.producer, right)):
                    ring = self.members[name].launched.rings[edge.volume] if edge.volume else ""
                    described = EdgeEnd(edge=edge.name, peer=peer, producer=name == edge.producer, ring=ring)
                    ends[name].append((described, end))
        self.boxes = {end.peer: Channel(sock, name=end.edge) for end, sock in ends.pop(SUPERVISOR)}
        for name, own in ends.items():
            message = Configure(
                policy=self._policy,
                ends=tuple(end for end, _ in own),
                canaries=replace(self._canaries, volumes=self._foreign_volumes(name)),
                ring_bytes=RING_BYTES,
                clock_ns=distance_ns(),
            )
            self.send(name, message, [sock.fileno() for _, sock in own])
            for _, sock in own:
                sock.close()

    def _foreign_volumes(self, name: str) -> tuple[str, ...]:
        """Where the volumes lie that a component must not see, if they lie there for whoever sees them."""
        own = self.members[name].launched.rings
        theirs = {volume: place for one in self.members.values() for volume, place in one.launched.rings.items()}
        return tuple(place for volume, place in theirs.items() if volume not in own)

    def send(self, name: str, message: ToComponent, fds: Sequence[int] = ()) -> None:
        """Send one message to a component."""
        try:
            self.members[name].launched.control.send(message, fds)
        except ComponentDied:
            self.died(name)

    def ask(
        self, name: str, message: ToComponent, fds: Sequence[int] = (), *, settled: bool = False
    ) -> FromComponent | None:
        """Send one message and wait for its answer, while nobody else has work.

        Args:
            name: The component that is asked.
            message: What it is sent.
            fds: Descriptors beside it.
            settled: Whether every item is settled, as in `finish`: a component that is lost then ends nothing.

        Returns:
            The answer; None if the component is lost.

        Raises:
            ProtocolError: Another component speaks of items.
        """
        guard = self._losing if settled else nullcontext
        with guard():
            self.send(name, message, fds)
        while not self.members[name].lost:
            with guard():
                for sender, answer in self.poll():
                    if sender == name:
                        return answer
                    if not settled:
                        raise ProtocolError("work before it was asked for", where=sender, actual=type(answer).__name__)
        return None

    def await_ready(self) -> None:
        """Wait until every component can take its first item, then judge its walls.

        Raises:
            IsolationError: A component measured less than the policy's minimum.
        """
        while not all(member.ready for member in self.members.values()):
            for name, message in self.poll():
                raise ProtocolError("work before it was asked for", where=name, actual=type(message).__name__)
        for member in self.members.values():
            member.gates += member.launched.observe()
        self._check_isolation()

    def _check_isolation(self) -> None:
        minimum = self._policy.minimum_isolation
        if minimum is None:
            return
        for name, member in self.members.items():
            measured = member.measured
            if measured.level < minimum:
                raise IsolationError(
                    f"gate {measured.failed} did not hold",
                    where=name,
                    expected=f"isolation level {minimum}",
                    actual=f"{int(measured.level)} ({measured.level.label})",
                    advice="See `veilbox doctor` for what this machine offers, or lower --isolation",
                )

    def common_stride(self, detectors: Sequence[str]) -> int:
        """The least step of the analysis picture's sides that suits every detector."""
        ready = (self.members[name].ready for name in detectors)
        return math.lcm(*(one.stride for one in ready if one is not None))

    def poll(self, extra: Mapping[int, str] | None = None) -> Iterator[tuple[str, FromComponent]]:
        """Look once at every component.

        Args:
            extra: More descriptors whose readiness ends the wait; they are not read.

        Yields:
            Component and message, for messages that are about items.

        Raises:
            ComponentDied: A process ended or closed its control socket.
            ComponentHung: A component was silent, or none moved, for longer than the deadline.
            VeilboxError: What a component reported as its fault.
        """
        for fd, name in (extra or {}).items():
            if fd not in self._selector.get_map():
                self._selector.register(fd, selectors.EVENT_READ, ("extra", name))
        ended: list[str] = []
        before = time.monotonic()
        ready = self._selector.select(_LOOK_S)
        self._still_s += time.monotonic() - before
        for key, _ in ready:
            kind, name = key.data
            if kind == "control":
                yield from self._receive(name)
            elif kind == "process":
                ended.append(name)
        for name in ended:
            yield from self._receive(name)
            if not self.members[name].ended:
                self.died(name)
        self._check_complaint()
        # Whatever was sent before this look has been read by now, however long ago the last one was.
        self._check_silence(before)
        self._check_progress()

    def _receive(self, name: str) -> Iterator[tuple[str, FromComponent]]:
        member = self.members[name]
        for _ in range(_AT_A_LOOK):
            if member.ended:
                return
            before = time.monotonic()
            try:
                received = member.launched.control.receive()
            except ComponentDied:
                self.died(name)
            if received is None:
                return
            member.last_seen_s = time.monotonic()
            if self._absorb(name, member, received[0]):
                # Hearing that somebody lives is waiting for work: else a flood of such words would stop the clock.
                self._still_s += time.monotonic() - before
            else:
                self._still_s = 0.0
                yield name, received[0]

    def _absorb(self, name: str, member: Member, message: FromComponent) -> bool:
        """Take in what is about the component itself; False for what is about items."""
        match message:
            case Heartbeat():
                if member.progress != (message.item, message.frames):
                    member.progress = (message.item, message.frames)
                    self._still_s = 0.0
            case Hello() | Probed() | Ready():
                self._introduce(name, member, message)
            case Finished():
                member.finished = True
                self._end_dismissed()
            case Faulted():
                self._faulted(message.failure.error(name))
            case _:
                return False
        return True

    def _introduce(self, name: str, member: Member, message: Hello | Probed | Ready) -> None:
        match message:
            case Hello() if member.hello is None and message.component == name:
                member.shift_ns = shift_ns(message.clock_ns, distance_ns())
                member.hello = replace(
                    message,
                    first_ns=message.first_ns and message.first_ns + member.shift_ns,
                    imported_ns=message.imported_ns + member.shift_ns,
                )
            case Probed() if member.ready is None and not member.gates:
                member.gates = _own_gates(name, message, FROM_INSIDE)
            case Ready() if member.ready is None:
                self._check_model(name, message)
                member.ready = replace(message, ready_ns=message.ready_ns + member.shift_ns)
                self._still_s = 0.0
            case _:
                # Said again it could paint over what was measured.
                raise ProtocolError("introduces itself twice or as another", where=name, actual=type(message).__name__)

    def _check_model(self, name: str, ready: Ready) -> None:
        """A detector runs the model that its image carries, and asks for a picture that can be made."""
        container = self._plan.container(name)
        if container.model is not None and ready.model != str(container.model):
            raise ProtocolError("runs another model", where=name, expected=str(container.model), actual=ready.model)
        if ready.classes and not 1 <= ready.stride <= _MOST_STRIDE:
            raise ProtocolError(
                "stride out of bounds", where=name, expected=f"1 to {_MOST_STRIDE}", actual=str(ready.stride)
            )

    def _faulted(self, error: VeilboxError) -> None:
        if not isinstance(error, ComponentDied):
            raise error
        if self._complaint is None:
            self._complaint = (time.monotonic(), error)

    def _check_complaint(self) -> None:
        """Raise what a component said of a neighbour's death, once the neighbour had time to be found dead."""
        if self._complaint is not None and time.monotonic() - self._complaint[0] > _CULPRIT_S:
            raise self._complaint[1]

    def _allowed_s(self, member: Member) -> float:
        deadline = self._policy.deadline_s
        return deadline if member.ready else max(deadline, _START_S)

    def _check_silence(self, now: float) -> None:
        for name, member in self.members.items():
            allowed = self._allowed_s(member)
            if now - member.last_seen_s > allowed and not (member.lost or member.ended):
                raise ComponentHung(
                    "no sign of life", where=name, expected=f"one within {allowed:g} s", advice=_RELEASED
                )

    def _check_progress(self) -> None:
        allowed = max(self._allowed_s(member) for member in self.members.values())
        if self._still_s > allowed:
            working = [name for name, member in self.members.items() if not member.ended]
            quiet = min(working, key=lambda name: self.members[name].last_seen_s)
            raise ComponentHung(
                "no component made progress",
                where="pod",
                expected=f"progress within {allowed:g} s",
                actual=f"none; {quiet} was silent the longest",
                advice="Give a longer --deadline if the pictures are very large",
            )

    def died(self, name: str) -> NoReturn:
        """Raise what is known of a component's end.

        Raises:
            ComponentDied: Always.
        """
        launched = self.members[name].launched
        _await_end(launched)
        cost = launched.cost()
        status = launched.exit_status()
        if cost.out_of_memory:
            limit = self._plan.container(name).limits.memory_bytes >> 20
            raise ComponentDied("out of memory", where=name, expected=f"at most {limit} MiB")
        # What a component prints could quote footage, so it is shown only while it has seen none.
        before_footage = self.members[name].ready is None
        raise ComponentDied(
            "ended before its work was done",
            where=name,
            actual=_status_text(status) + (f": {launched.last_words()}" if before_footage else ""),
            advice=_RELEASED,
        )

    def finish(self, *, but: Sequence[str] = ()) -> None:
        """Tell every component that no items follow, and read what each has used once it has finished.

        Every item is settled: a component that dies or hangs now takes no result with it, only its last counters.

        Args:
            but: Components that have more to do, and get their own call later.
        """
        ending = {name: member for name, member in self.members.items() if name not in but}
        for name, member in ending.items():
            if not (member.finished or member.lost or member.dismissed):
                with self._losing():
                    self.send(name, Finish())
        while not all(member.finished or member.lost for member in ending.values()):
            with self._losing():
                for _ in self.poll():
                    pass  # an item that was settled already may still be told of
        for member in self.members.values():
            if not member.ended:
                member.cost = member.launched.cost()

    def dismiss(self, names: Sequence[str]) -> None:
        """Tell components that their work is done, and end them as soon as all have said so.

        All at once: one that still looks at its edges would take its neighbour's end for a death.

        Args:
            names: They must not be needed again; their neighbours among the others must be able to do without them.
        """
        for name in names:
            self.members[name].dismissed = True
            self.send(name, Finish())

    def _end_dismissed(self) -> None:
        """End who was dismissed once none of them has more to say; what each has used is read before."""
        leaving = [member for member in self.members.values() if member.dismissed]
        if not all(member.finished for member in leaving):
            return
        for member in leaving:
            if not member.ended:
                member.cost = member.launched.cost()
                self._forget(member)
                member.ended = True
                member.launched.end()

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Note a component that died or hung as lost; all of them if the pod stands still."""
        try:
            yield
        except (ComponentDied, ComponentHung) as error:
            self._complaint = None
            for name in [error.where] if error.where in self.members else [*self.members]:
                self._lose(self.members[name])

    def _lose(self, member: Member) -> None:
        member.lost = True
        self._forget(member)

    def _forget(self, member: Member) -> None:
        """Look at it no more."""
        for fd in (member.launched.control.fileno(), member.launched.fileno()):
            if fd >= 0 and fd in self._selector.get_map():
                self._selector.unregister(fd)


def _own_gates(name: str, message: Probed, allowed: AbstractSet[str]) -> tuple[Gate, ...]:
    """The gates that a component reports; it may not report those that only the host can see."""
    foreign = {gate.name for gate in message.gates} - allowed
    if foreign:
        raise ProtocolError("reports a gate that it cannot try", where=name, actual=", ".join(sorted(foreign)))
    return message.gates


def _await_end(launched: Launched) -> None:
    """Let a process that closed its socket finish dying, so that its exit status can be told."""
    if launched.fileno() >= 0:
        waiter = select.poll()
        waiter.register(launched.fileno(), select.POLLIN)
        waiter.poll(_LOOK_S * 1000)


def _status_text(status: int | None) -> str:
    if status is None:
        return "control socket closed"
    return f"signal {status - 128}" if status > 128 else f"exit status {status}"
