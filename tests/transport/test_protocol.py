"""The state machines: conversations, a peer's faults, our faults, and every interleaving."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from veilbox.core.errors import ProtocolError
from veilbox.transport.messages import Boxes, Credit, End, Frame, LocalProtocolError, Message, Packet, Start
from veilbox.transport.protocol import EDGE, SLOT, Carried, Consumer, Producer, Slot, State, Step


def frame(sequence: int, slot: int, generation: int = 1) -> Frame:
    return Frame(sequence, slot, generation, 0, 0, 0)


def publish(producer: Producer, sequence: int, to: list[int] | None = None) -> Frame:
    index = producer.acquire()
    assert index is not None
    return producer.publish(index, sequence=sequence, pts=0, duration=0, decoded_ns=0, to=to)


def test_one_item_there_and_back() -> None:
    producer, consumer = Producer(), Consumer()
    consumer.receive(producer.start_ring(0, b"info", 2, 100))
    for sequence in range(5):
        sent = publish(producer, sequence)
        assert consumer.receive(sent) == sent
        producer.receive(0, consumer.release(sent.slot))
    (end,) = producer.end(0)
    assert end == End(0, 5)
    consumer.receive(end)
    assert producer.drained
    assert (producer.state, consumer.state) == (State.IDLE, State.IDLE)


def test_no_slot_is_free_until_every_receiver_gave_credit() -> None:
    producer = Producer(3)
    producer.start_ring(0, b"", 1, 100)
    publish(producer, 0)
    for consumer in (2, 0):
        producer.receive(consumer, Credit(0, 1))
        assert producer.acquire() is None
    producer.receive(1, Credit(0, 1))
    assert producer.acquire() == 0


def test_a_consumer_that_got_no_frame_is_not_waited_for() -> None:
    producer = Producer(2)
    producer.start_ring(0, b"", 1, 100)
    publish(producer, 0, to=[1])
    producer.receive(1, Credit(0, 1))
    publish(producer, 1, to=[])
    assert producer.drained
    assert producer.end(0) == (End(0, 0), End(0, 1))


def test_frames_of_one_item_may_be_held_into_the_next() -> None:
    producer, consumer = Producer(), Consumer()
    consumer.receive(producer.start_ring(0, b"", 2, 100))
    sent = publish(producer, 0)
    consumer.receive(sent)
    consumer.receive(producer.end(0)[0])
    again = producer.start_ring(1, b"", 2, 60)
    assert (again.ring_generation, again.slots, again.slot_bytes) == (1, 2, 60)
    consumer.receive(again)
    assert consumer.held == 1
    producer.receive(0, consumer.release(sent.slot))
    assert producer.drained


def test_a_larger_item_gets_a_new_ring_when_every_slot_is_free() -> None:
    producer, consumer = Producer(), Consumer()
    consumer.receive(producer.start_ring(0, b"", 2, 100))
    sent = publish(producer, 0)
    consumer.receive(sent)
    consumer.receive(producer.end(0)[0])
    with pytest.raises(LocalProtocolError, match="in use"):
        producer.start_ring(1, b"", 2, 101)
    producer.receive(0, consumer.release(sent.slot))
    assert consumer.receive(producer.start_ring(1, b"", 2, 101)) == Start(1, b"", 2, 2, 101)
    assert producer.slots == 2


def test_a_discarded_ring_does_not_fit() -> None:
    producer = Producer()
    producer.start_ring(0, b"", 2, 100)
    with pytest.raises(LocalProtocolError, match="STREAMING"):
        producer.discard_ring()
    producer.end(0)
    producer.discard_ring()
    assert not producer.fits(1, 1)
    assert producer.start_ring(1, b"", 2, 100).ring_generation == 2


def test_an_abandoned_slot_is_free_again() -> None:
    producer = Producer()
    producer.start_ring(0, b"", 1, 1)
    index = producer.acquire()
    assert index is not None
    producer.abandon(index)
    assert producer.drained


def test_an_aborted_item_takes_its_written_slots_back() -> None:
    producer = Producer()
    producer.start_ring(0, b"", 2, 1)
    producer.acquire()
    with pytest.raises(LocalProtocolError, match="being written"):
        producer.end(0)
    assert producer.end(0, aborted=True) == (End(0, 0, aborted=True),)
    assert producer.drained


@pytest.mark.parametrize(("carries", "message"), [(Boxes, Boxes(7, b"")), (Packet, Packet(0, 0, 0, 0, b""))])
def test_an_edge_without_a_ring(carries: Carried, message: Boxes | Packet) -> None:
    producer, consumer = Producer(carries=carries), Consumer(carries=carries)
    consumer.receive(producer.start(0, b""))
    producer.forward(message)
    consumer.receive(message)
    assert consumer.receive(producer.end(0)[0]) == End(0, 1)
    assert consumer.started == Start(0, b"")


# What a producer may not send, after what, and what the error says.
_OPEN: list[Message] = [Start(3, b"", 5, 2, 100)]
PRODUCER_FAULTS: dict[str, tuple[list[Message], Message, str]] = {
    "frame before start": ([], frame(0, 0), "expected Start, got Frame"),
    "end before start": ([], End(0, 0), "expected Start, got End"),
    "start twice": (_OPEN, Start(4, b"", 5, 2, 100), "expected Frame or End, got Start"),
    "a credit": (_OPEN, Credit(0, 5), "got Credit"),
    "boxes on a ring": (_OPEN, Boxes(0, b""), "expected Frame or End, got Boxes"),
    "audio on a ring": (_OPEN, Packet(0, 0, 0, 0, b""), "got Packet"),
    "no ring": ([], Start(0, b""), "expected a ring, got 0 slots"),
    "slot beyond the ring": (_OPEN, frame(0, 2, 5), "expected < 2, got 2"),
    "older generation": (_OPEN, frame(0, 0, 4), "expected generation 5, got generation 4"),
    "newer generation": (_OPEN, frame(0, 0, 6), "expected generation 5, got generation 6"),
    "slot overwritten": ([*_OPEN, frame(0, 1, 5)], frame(1, 1, 5), "got slot 1"),
    "sequence repeated": ([*_OPEN, frame(8, 1, 5)], frame(8, 0, 5), "expected > 8, got 8"),
    "sequence backwards": ([*_OPEN, frame(8, 1, 5)], frame(7, 0, 5), "expected > 8, got 7"),
    "a frame missing": ([*_OPEN, frame(8, 1, 5)], End(3, 2), "expected item 3, 1 frames, got item 3, 2 frames"),
    "a frame too many": ([*_OPEN, frame(8, 1, 5)], End(3, 0), "got item 3, 0 frames"),
    "another item ends": (_OPEN, End(2, 0), "got item 2"),
    "end twice": ([*_OPEN, End(3, 0)], End(3, 0), "expected Start, got End"),
    "item repeated": ([*_OPEN, End(3, 0)], Start(3, b"", 5, 2, 100), "expected > 3, got 3"),
    "sequence restarts with the item": (
        [*_OPEN, frame(8, 1, 5), End(3, 1), Start(4, b"", 5, 2, 100)],
        frame(0, 0, 5),
        "expected > 8, got 0",
    ),
    "ring grows under its generation": ([*_OPEN, End(3, 0)], Start(4, b"", 5, 2, 101), "at most 100 bytes"),
    "slots grow under their generation": ([*_OPEN, End(3, 0)], Start(4, b"", 5, 3, 100), "got 3 slots"),
    "generation goes back": ([*_OPEN, End(3, 0)], Start(4, b"", 4, 2, 100), "expected >= 5, got 4"),
    "ring replaced under a reader": (
        [*_OPEN, frame(8, 1, 5), End(3, 1)],
        Start(4, b"", 6, 2, 100),
        "expected 0 slots, got 1 slots",
    ),
}


@pytest.mark.parametrize("name", PRODUCER_FAULTS)
def test_a_producers_fault_is_named_and_final(name: str) -> None:
    before, fault, told = PRODUCER_FAULTS[name]
    consumer = Consumer()
    for message in before:
        consumer.receive(message)
    with pytest.raises(ProtocolError) as caught:
        consumer.receive(fault)
    assert told in str(caught.value)
    with pytest.raises(LocalProtocolError, match="broken"):
        consumer.receive(Start(9, b"", 9, 2, 100))


CONSUMER_FAULTS: dict[str, tuple[list[Credit], Message, str]] = {
    "no credit": ([], frame(0, 0), "expected Credit, got Frame"),
    "slot beyond the ring": ([], Credit(2, 1), "expected < 2, got 2"),
    "another generation": ([], Credit(0, 0), "expected generation 1, got generation 0"),
    "slot that is free": ([], Credit(1, 1), "slot 1, FREE"),
    "double credit": ([Credit(0, 1)], Credit(0, 1), "slot 0, READING"),
}


@pytest.mark.parametrize("name", CONSUMER_FAULTS)
def test_a_consumers_fault_is_named_and_final(name: str) -> None:
    before, fault, told = CONSUMER_FAULTS[name]
    producer = Producer(2)
    producer.start_ring(0, b"", 2, 100)
    publish(producer, 0)
    for credit in before:
        producer.receive(0, credit)
    with pytest.raises(ProtocolError) as caught:
        producer.receive(0, fault)
    assert told in str(caught.value)
    for call in (lambda: producer.receive(1, Credit(0, 1)), producer.acquire, lambda: producer.end(0)):
        with pytest.raises(LocalProtocolError):
            call()


def test_credit_for_a_slot_that_is_being_written() -> None:
    producer = Producer()
    producer.start_ring(0, b"", 1, 1)
    producer.acquire()
    with pytest.raises(ProtocolError, match="slot 0, WRITING"):
        producer.receive(0, Credit(0, 1))


OUR_FAULTS: dict[str, Callable[[Producer], object]] = {
    "start twice": lambda one: one.start_ring(1, b"", 1, 1),
    "start without a ring": lambda one: (one.end(0), one.start(1, b"")),
    "item repeated": lambda one: (one.end(0), one.start_ring(0, b"", 1, 1)),
    "another item ends": lambda one: one.end(7),
    "no slots": lambda one: one.start_ring(1, b"", 0, 1),
    "a slot that was not acquired": lambda one: one.publish(0, sequence=0, pts=0, duration=0, decoded_ns=0),
    "a slot that the ring lacks": lambda one: one.abandon(9),
    "sequence repeated": lambda one: (publish(one, 3), publish(one, 3)),
    "no such consumer": lambda one: publish(one, 0, to=[1]),
    "a consumer twice": lambda one: publish(one, 0, to=[0, 0]),
    "boxes on a ring": lambda one: one.forward(Boxes(0, b"")),
    "acquire after the end": lambda one: (one.end(0), one.acquire()),
}


@pytest.mark.parametrize("name", OUR_FAULTS)
def test_our_own_fault_is_no_protocol_error(name: str) -> None:
    producer = Producer()
    producer.start_ring(0, b"", 2, 100)
    with pytest.raises(LocalProtocolError):
        OUR_FAULTS[name](producer)


def test_a_consumers_own_faults() -> None:
    consumer = Consumer()
    with pytest.raises(LocalProtocolError):
        consumer.release(0)
    consumer.receive(Start(0, b"", 1, 2, 1))
    consumer.receive(frame(0, 0))
    consumer.release(0)
    with pytest.raises(LocalProtocolError):
        consumer.release(0)
    with pytest.raises(LocalProtocolError):
        Producer(0)


def test_the_tables_know_every_state_and_end_in_known_ones() -> None:
    assert set(EDGE) == set(State)
    assert set(SLOT) == set(Slot)
    assert {after for moves in EDGE.values() for after in moves.values()} <= set(State)
    assert {step for steps in SLOT.values() for step in steps} == set(Step)


class Interleavings(RuleBasedStateMachine):
    """A producer and its consumers with every message in flight for as long as it likes.

    `content` plays the ring's memory: what a consumer reads is what was written for it, from the moment that the
    frame arrives until it is released.
    """

    @initialize(consumers=st.integers(1, 3))
    def begin(self, consumers: int) -> None:
        self.producer = Producer(consumers)
        self.consumers = [Consumer() for _ in range(consumers)]
        self.down: list[deque[Message]] = [deque() for _ in range(consumers)]
        self.up: list[deque[Credit]] = [deque() for _ in range(consumers)]
        self.reading: list[dict[int, int]] = [{} for _ in range(consumers)]
        self.content: dict[int, int | None] = {}
        self.writing: list[int] = []
        self.item = -1
        self.sequence = -1

    @precondition(lambda self: self.producer.state is State.IDLE)
    @rule(slots=st.integers(1, 4), slot_bytes=st.integers(1, 4))
    def start(self, slots: int, slot_bytes: int) -> None:
        if not self.producer.fits(slots, slot_bytes) and not self.producer.drained:
            return
        self.item += 1
        message = self.producer.start_ring(self.item, b"", slots, slot_bytes)
        for queue in self.down:
            queue.append(message)

    @precondition(lambda self: self.producer.state is State.STREAMING)
    @rule()
    def acquire(self) -> None:
        index = self.producer.acquire()
        if index is None:
            assert any(self.reading) or any(self.up) or any(self.down) or self.writing
            return
        self.content[index] = None
        self.writing.append(index)

    @precondition(lambda self: self.writing)
    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        index = self.writing.pop(data.draw(st.integers(0, len(self.writing) - 1)))
        everyone = range(len(self.consumers))
        to = data.draw(st.none() | st.sets(st.sampled_from(everyone)).map(sorted))
        self.sequence += data.draw(st.integers(1, 3))
        self.content[index] = self.sequence
        sent = self.producer.publish(index, sequence=self.sequence, pts=0, duration=0, decoded_ns=0, to=to)
        for consumer in everyone if to is None else to:
            self.down[consumer].append(sent)

    @precondition(lambda self: self.writing)
    @rule()
    def abandon(self) -> None:
        self.producer.abandon(self.writing.pop())

    @precondition(lambda self: self.producer.state is State.STREAMING)
    @rule(aborted=st.booleans())
    def end(self, *, aborted: bool) -> None:
        if self.writing and not aborted:
            return
        self.writing.clear()
        for queue, message in zip(self.down, self.producer.end(self.item, aborted=aborted), strict=True):
            queue.append(message)

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self._deliver(data.draw(st.sampled_from(range(len(self.consumers)))))

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        consumer = data.draw(st.sampled_from(range(len(self.consumers))))
        if self.reading[consumer]:
            self._release(consumer, data.draw(st.sampled_from(sorted(self.reading[consumer]))))

    @rule(data=st.data())
    def credit(self, data: st.DataObject) -> None:
        self._credit(data.draw(st.sampled_from(range(len(self.consumers)))))

    @invariant()
    def nobody_reads_what_is_written(self) -> None:
        for reading in getattr(self, "reading", []):
            for slot, sequence in reading.items():
                assert self.content[slot] == sequence

    def teardown(self) -> None:
        if not hasattr(self, "producer"):
            return
        for index in self.writing:
            self.producer.abandon(index)
        for consumer in range(len(self.consumers)):
            while self.down[consumer]:
                self._deliver(consumer)
                for slot in list(self.reading[consumer]):
                    self._release(consumer, slot)
            for slot in list(self.reading[consumer]):
                self._release(consumer, slot)
            while self.up[consumer]:
                self._credit(consumer)
        assert self.producer.drained

    def _deliver(self, consumer: int) -> None:
        if not self.down[consumer]:
            return
        message = self.consumers[consumer].receive(self.down[consumer].popleft())
        if isinstance(message, Frame):
            assert self.content[message.slot] == message.sequence
            self.reading[consumer][message.slot] = message.sequence

    def _release(self, consumer: int, slot: int) -> None:
        del self.reading[consumer][slot]
        self.up[consumer].append(self.consumers[consumer].release(slot))

    def _credit(self, consumer: int) -> None:
        if self.up[consumer]:
            self.producer.receive(consumer, self.up[consumer].popleft())


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)

small = st.integers(0, 3)
anything: st.SearchStrategy[Message] = st.one_of(
    st.builds(Start, small, st.just(b""), small, small, small),
    st.builds(Frame, st.integers(0, 9), small, small, small, small, small),
    st.builds(Boxes, small, st.just(b"")),
    st.builds(Packet, small, small, small, small, st.just(b"")),
    st.builds(End, small, small, st.booleans()),
    st.builds(Credit, small, small),
)


@settings(deadline=None)
@given(st.lists(anything, max_size=12), st.sampled_from([Frame, Boxes, Packet]))
def test_a_hostile_producer_gets_nothing_but_protocol_errors(said: list[Message], carries: Carried) -> None:
    consumer = Consumer(carries=carries)
    for message in said:
        try:
            accepted = consumer.receive(message)
        except ProtocolError:
            assert consumer.state is State.BROKEN
            return
        started = consumer.started
        assert started is not None
        if isinstance(accepted, Frame):
            assert accepted.slot < started.slots
            assert accepted.generation == started.ring_generation
        assert consumer.held <= started.slots


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), anything), max_size=12))
def test_a_hostile_consumer_gets_nothing_but_protocol_errors(said: list[tuple[int, Message]]) -> None:
    producer = Producer(2)
    producer.start_ring(0, b"", 3, 1)
    held = {0: {publish(producer, 0).slot}, 1: set[int]()}
    held[1] |= held[0]
    for consumer, message in said:
        try:
            producer.receive(consumer, message)
        except ProtocolError:
            assert producer.state is State.BROKEN
            return
        assert isinstance(message, Credit)
        held[consumer].remove(message.slot)
    assert producer.drained == (not held[0] and not held[1])
