"""Who may say what when on an edge, and who owns a slot. No socket, no file, no clock.

An edge has one producer and one or more consumers. Towards each consumer the order of messages is

                Start
        IDLE ----------> STREAMING --+ Frame | Boxes | Packet
          ^                 |   ^----+
          +-------End-------+

and a slot of the ring goes round

                acquire            publish             credit of every consumer it was sent to
        FREE ----------> WRITING ----------> READING ----------------------------------------> FREE
          ^                 | abandon
          +-----------------+

Both are the tables below. After a peer's fault a machine is BROKEN and refuses everything: there is no way back, the
job ends (the design's rule 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from veilbox.core.errors import ProtocolError
from veilbox.transport.messages import (
    MAX_SLOT_BYTES,
    MAX_SLOTS,
    Boxes,
    Credit,
    End,
    Frame,
    LocalProtocolError,
    Message,
    Packet,
    Start,
)


class State(Enum):
    """Of an edge towards one consumer."""

    IDLE = auto()
    STREAMING = auto()
    BROKEN = auto()


EDGE: Mapping[State, Mapping[type, State]] = {
    State.IDLE: {Start: State.STREAMING},
    State.STREAMING: {
        Frame: State.STREAMING,
        Boxes: State.STREAMING,
        Packet: State.STREAMING,
        End: State.IDLE,
    },
    State.BROKEN: {},
}


class Slot(Enum):
    """Of one slot of the ring."""

    FREE = auto()
    WRITING = auto()
    READING = auto()


class Step(Enum):
    """What happens to a slot."""

    ACQUIRE = auto()
    ABANDON = auto()
    PUBLISH = auto()
    CREDITED = auto()


SLOT: Mapping[Slot, Mapping[Step, Slot]] = {
    Slot.FREE: {Step.ACQUIRE: Slot.WRITING},
    Slot.WRITING: {Step.PUBLISH: Slot.READING, Step.ABANDON: Slot.FREE},
    Slot.READING: {Step.CREDITED: Slot.FREE},
}

Carried = type[Frame] | type[Boxes] | type[Packet]


class Producer:
    """The producer's side: makes the messages to send, takes the credits that come back.

    Args:
        consumers: How many; they are named by index.
        carries: The one kind of message that this edge carries between Start and End.
    """

    def __init__(self, consumers: int = 1, *, carries: Carried = Frame) -> None:
        if consumers < 1:
            raise LocalProtocolError("an edge needs at least one consumer")
        self._carries = carries
        self._state = State.IDLE
        self._slots: list[Slot] = []
        self._owed: list[int] = []  # by slot, the set of consumers that read it, as bits
        self._free: list[int] = []
        self._counts = [0] * consumers
        self._everyone = range(consumers)
        self._item = -1
        self._sequence = -1
        self.generation = 0
        self.capacity = 0

    @property
    def state(self) -> State:
        """Where the edge stands."""
        return self._state

    @property
    def slots(self) -> int:
        """Slots of the present ring; 0 before the first."""
        return len(self._slots)

    @property
    def drained(self) -> bool:
        """Whether every slot is free, so that the ring may be replaced."""
        return len(self._free) == len(self._slots)

    def fits(self, slots: int, slot_bytes: int) -> bool:
        """Whether the present ring can carry an item that needs so many slots of so many bytes."""
        return slots <= self.slots and slot_bytes <= self.capacity

    def start(self, item: int, info: bytes) -> Start:
        """Begin an item on an edge without a ring."""
        return self._start(Start(item, info))

    def start_ring(self, item: int, info: bytes, slots: int, slot_bytes: int) -> Start:
        """Begin an item on the present ring if it fits, on a ring of the next generation otherwise.

        Raises:
            LocalProtocolError: A new ring is needed and a slot of the present one is not free.
        """
        if not (0 < slots <= MAX_SLOTS and 0 < slot_bytes <= MAX_SLOT_BYTES):
            raise LocalProtocolError(f"no ring has {slots} slots of {slot_bytes} bytes")
        self._check_state(Start)
        if not self.fits(slots, slot_bytes):
            self._set_ring(slots, slot_bytes)
            self.generation += 1
        return self._start(Start(item, info, self.generation, self.slots, slot_bytes))

    def discard_ring(self) -> None:
        """Forget the present ring, between items and when every slot is free."""
        if self._state is not State.IDLE:
            raise LocalProtocolError(f"the ring cannot be discarded while the edge is {self._state.name}")
        self._set_ring(0, 0)

    def acquire(self) -> int | None:
        """Take a free slot for writing, the most recently freed one (its memory is warm); None if there is none."""
        if self._state is not State.STREAMING:
            raise LocalProtocolError(f"a slot cannot be acquired while the edge is {self._state.name}")
        if not self._free:
            return None
        index = self._free.pop()
        self._step(index, Step.ACQUIRE)
        return index

    def abandon(self, index: int) -> None:
        """Give an acquired slot back without sending it."""
        self._step(index, Step.ABANDON)
        self._free.append(index)

    def publish(
        self,
        index: int,
        *,
        sequence: int,
        pts: int,
        duration: int,
        decoded_ns: int,
        flags: int = 0,
        to: Sequence[int] | None = None,
    ) -> Frame:
        """Hand an acquired slot to consumers.

        Args:
            index: The slot.
            sequence: Greater than every one before.
            pts: See `Frame`.
            duration: See `Frame`.
            decoded_ns: See `Frame`.
            flags: See `Frame`.
            to: The consumers that get the frame; all by default, nobody else's credit is waited for.

        Returns:
            The message for those consumers.
        """
        receivers = self._everyone if to is None else to
        self._check_receivers(receivers)
        self._advance(sequence)
        self._step(index, Step.PUBLISH)
        for consumer in receivers:
            self._owed[index] |= 1 << consumer
            self._counts[consumer] += 1
        if not receivers:
            self._freed(index)
        return Frame(sequence, index, self.generation, pts, duration, decoded_ns, flags)

    def forward(self, message: Boxes | Packet) -> None:
        """Account for a message that carries its own payload; the caller sends it to every consumer."""
        if type(message) is not self._carries:
            raise LocalProtocolError(f"the edge carries {self._carries.__name__}, not {type(message).__name__}")
        self._advance(message.sequence if isinstance(message, Boxes) else self._sequence + 1)
        self._counts = [count + 1 for count in self._counts]

    def end(self, item: int, *, aborted: bool = False) -> tuple[End, ...]:
        """End the item.

        Args:
            item: The one that was started.
            aborted: The source failed; acquired slots are taken back.

        Returns:
            For each consumer its message.
        """
        writing = [index for index, slot in enumerate(self._slots) if slot is Slot.WRITING]
        if writing and not aborted:
            raise LocalProtocolError(f"the item ends while slots {writing} are being written")
        if item != self._item:
            raise LocalProtocolError(f"item {item} ends but {self._item} was started")
        self._enter(End)
        for index in writing:
            self.abandon(index)
        return tuple(End(item, count, aborted) for count in self._counts)

    def receive(self, consumer: int, message: Message) -> None:
        """Take what a consumer sent.

        Raises:
            ProtocolError: It is no credit, or not for a slot that this consumer holds.
        """
        if self._state is State.BROKEN:
            raise LocalProtocolError("the edge is broken")
        try:
            self._credit(consumer, message)
        except ProtocolError:
            self._state = State.BROKEN
            raise

    def _credit(self, consumer: int, message: Message) -> None:
        if not isinstance(message, Credit):
            raise ProtocolError("not a consumer's message", expected="Credit", actual=type(message).__name__)
        if message.generation != self.generation:
            raise ProtocolError(
                "credit for another ring",
                expected=f"generation {self.generation}",
                actual=f"generation {message.generation}",
            )
        index, bit = message.slot, 1 << consumer
        if index >= len(self._slots):
            raise ProtocolError(
                "credit for a slot that the ring lacks", expected=f"< {len(self._slots)}", actual=str(index)
            )
        if not self._owed[index] & bit:
            raise ProtocolError(
                "credit for a slot that the consumer does not hold",
                expected="one credit for each frame",
                actual=f"slot {index}, {self._slots[index].name}",
            )
        self._owed[index] ^= bit
        if not self._owed[index]:
            self._freed(index)

    def _freed(self, index: int) -> None:
        self._step(index, Step.CREDITED)
        self._free.append(index)

    def _step(self, index: int, step: Step) -> None:
        if not 0 <= index < len(self._slots):
            raise LocalProtocolError(f"the ring has no slot {index}")
        after = SLOT[self._slots[index]].get(step)
        if after is None:
            raise LocalProtocolError(f"slot {index} is {self._slots[index].name}: cannot {step.name}")
        self._slots[index] = after

    def _set_ring(self, slots: int, slot_bytes: int) -> None:
        if not self.drained:
            raise LocalProtocolError("the ring is replaced while slots are in use")
        self.capacity = slot_bytes
        self._slots = [Slot.FREE] * slots
        self._owed = [0] * slots
        self._free = list(range(slots))[::-1]

    def _start(self, start: Start) -> Start:
        if start.item <= self._item:
            raise LocalProtocolError(f"item {start.item} cannot follow item {self._item}")
        if (start.slots > 0) != (self._carries is Frame):
            raise LocalProtocolError("an edge has a ring exactly if it carries frames")
        self._enter(Start)
        self._item = start.item
        self._counts = [0] * len(self._counts)
        return start

    def _advance(self, sequence: int) -> None:
        if sequence <= self._sequence:
            raise LocalProtocolError(f"sequence {sequence} cannot follow {self._sequence}")
        self._enter(self._carries)
        self._sequence = sequence

    def _check_receivers(self, receivers: Sequence[int]) -> None:
        if len(set(receivers)) != len(receivers) or not all(0 <= one < len(self._counts) for one in receivers):
            raise LocalProtocolError(f"no such consumers: {receivers}")

    def _check_state(self, kind: type) -> State:
        after = EDGE[self._state].get(kind)
        if after is None:
            raise LocalProtocolError(f"{kind.__name__} cannot be sent while the edge is {self._state.name}")
        return after

    def _enter(self, kind: type) -> None:
        self._state = self._check_state(kind)


class Consumer:
    """A consumer's side: checks what arrives, makes the credits to send back.

    Args:
        carries: The one kind of message that this edge carries between Start and End.
    """

    def __init__(self, *, carries: Carried = Frame) -> None:
        self._carries = carries
        self._state = State.IDLE
        self._held: set[int] = set()
        self._count = 0
        self._sequence = -1
        self._capacity = 0
        self._start: Start | None = None

    @property
    def state(self) -> State:
        """Where the edge stands."""
        return self._state

    @property
    def started(self) -> Start | None:
        """The item's Start, also after its End; None before the first."""
        return self._start

    @property
    def held(self) -> int:
        """Slots that were received and not released."""
        return len(self._held)

    def receive(self, message: Message) -> Start | Frame | Boxes | Packet | End:
        """Check what the producer sent and take note of it.

        Returns:
            The same message.

        Raises:
            ProtocolError: It may not be sent now, or contradicts what was said before.
        """
        if self._state is State.BROKEN:
            raise LocalProtocolError("the edge is broken")
        try:
            return self._receive(message)
        except ProtocolError:
            self._state = State.BROKEN
            raise

    def release(self, index: int) -> Credit:
        """Give a slot back.

        Returns:
            The credit to send to the producer.
        """
        if self._start is None or index not in self._held:
            raise LocalProtocolError(f"slot {index} is not held")
        self._held.remove(index)
        return Credit(index, self._start.ring_generation)

    def _receive(self, message: Message) -> Start | Frame | Boxes | Packet | End:
        kind = type(message)
        after = EDGE[self._state].get(kind)
        if after is None or isinstance(message, Credit) or (after is self._state and kind is not self._carries):
            raise ProtocolError("message out of order", expected=self._expected(), actual=kind.__name__)
        if isinstance(message, Frame):
            self._frame(message)
        elif isinstance(message, Start):
            self._begin(message)
        elif isinstance(message, End):
            self._finish(message)
        else:
            self._advance(message.sequence if isinstance(message, Boxes) else self._sequence + 1)
        self._state = after
        return message

    def _expected(self) -> str:
        return "Start" if self._state is State.IDLE else f"{self._carries.__name__} or End"

    def _begin(self, start: Start) -> None:
        last = self._start
        if last is not None and start.item <= last.item:
            raise ProtocolError("item out of order", expected=f"> {last.item}", actual=str(start.item))
        if (start.slots > 0) != (self._carries is Frame):
            expected = "a ring" if self._carries is Frame else "no ring"
            raise ProtocolError("ring on the wrong edge", expected=expected, actual=f"{start.slots} slots")
        if last is not None and start.ring_generation == last.ring_generation:
            self._same_ring(start, last)
        else:
            self._new_ring(start, last)
        self._start = start
        self._count = 0

    def _same_ring(self, start: Start, last: Start) -> None:
        if start.slots != last.slots or start.slot_bytes > self._capacity:
            raise ProtocolError(
                "another ring under the same generation",
                expected=f"{last.slots} slots of at most {self._capacity} bytes",
                actual=f"{start.slots} slots of {start.slot_bytes} bytes",
            )

    def _new_ring(self, start: Start, last: Start | None) -> None:
        if last is not None and start.ring_generation < last.ring_generation:
            raise ProtocolError(
                "ring generation goes back",
                expected=f">= {last.ring_generation}",
                actual=str(start.ring_generation),
            )
        if self._held:
            raise ProtocolError(
                "ring replaced while slots are being read", expected="0 slots", actual=f"{len(self._held)} slots"
            )
        self._capacity = start.slot_bytes

    def _frame(self, frame: Frame) -> None:
        start = self._begun()
        if frame.generation != start.ring_generation:
            raise ProtocolError(
                "frame of another ring",
                expected=f"generation {start.ring_generation}",
                actual=f"generation {frame.generation}",
            )
        if frame.slot >= start.slots:
            raise ProtocolError(
                "frame in a slot that the ring lacks", expected=f"< {start.slots}", actual=str(frame.slot)
            )
        if frame.slot in self._held:
            raise ProtocolError(
                "slot overwritten while it is being read",
                expected="a slot that was given back",
                actual=f"slot {frame.slot}",
            )
        self._advance(frame.sequence)
        self._held.add(frame.slot)

    def _advance(self, sequence: int) -> None:
        if sequence <= self._sequence:
            raise ProtocolError("sequence out of order", expected=f"> {self._sequence}", actual=str(sequence))
        self._sequence = sequence
        self._count += 1

    def _finish(self, end: End) -> None:
        item = self._begun().item
        if (end.item, end.frames) != (item, self._count):
            raise ProtocolError(
                "the end does not match what came before",
                expected=f"item {item}, {self._count} frames",
                actual=f"item {end.item}, {end.frames} frames",
            )

    def _begun(self) -> Start:
        if self._start is None:  # the table lets no frame and no end through before the first Start
            raise LocalProtocolError("nothing was started")
        return self._start
