"""Producers and consumers on real sockets and real rings, in one process and in two."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilbox.core.errors import ComponentDied, MachineError, ProtocolError
from veilbox.transport.channel import Channel, pair
from veilbox.transport.consumer import FrameView, RingConsumer
from veilbox.transport.messages import (
    ANALYSED,
    Boxes,
    Credit,
    End,
    Frame,
    LocalProtocolError,
    Message,
    Packet,
    Start,
    encode,
)
from veilbox.transport.producer import RingProducer
from veilbox.transport.ring import Ring
from veilbox.transport.waiting import PollWaiter

Edge = tuple[RingProducer, list[RingConsumer]]
MakeEdge = Callable[..., Edge]


def put(producer: RingProducer, sequence: int, fill: int, to: list[int] | None = None) -> None:
    slot = producer.acquire()
    slot.buffer[:] = bytes([fill]) * len(slot.buffer)
    producer.publish(slot, sequence=sequence, pts=sequence * 512, duration=512, decoded_ns=1, flags=ANALYSED, to=to)


def view(consumer: RingConsumer) -> FrameView:
    received = consumer.receive()
    assert isinstance(received, FrameView)
    return received


def test_one_item(make_edge: MakeEdge) -> None:
    producer, (consumer,) = make_edge()
    producer.start(0, b"{}", 1000, wanted_slots=4)
    put(producer, 0, 7)
    assert consumer.receive() == Start(0, b"{}", 1, 4, 1000)
    got = view(consumer)
    assert got.frame == Frame(0, 0, 1, 0, 512, 1, ANALYSED)
    assert got.buffer.readonly
    assert got.buffer == bytes([7]) * 1000
    consumer.release(got)
    producer.end(0)
    assert consumer.receive() == End(0, 1)
    assert consumer.receive() is None
    producer.drain()


def test_released_and_published_buffers_cannot_be_touched(make_edge: MakeEdge) -> None:
    producer, (consumer,) = make_edge()
    producer.start(0, b"", 10, wanted_slots=2)
    slot = producer.acquire()
    producer.publish(slot, sequence=0, pts=0, duration=0, decoded_ns=0)
    with pytest.raises(ValueError, match="released"):
        slot.buffer[0] = 1
    consumer.receive()
    got = view(consumer)
    consumer.release(got)
    with pytest.raises(ValueError, match="released"):
        _ = got.buffer[0]
    with pytest.raises(LocalProtocolError):
        consumer.release(got)


def test_bytes_that_are_still_referred_to_do_not_stop_a_release(make_edge: MakeEdge) -> None:
    producer, (consumer,) = make_edge()
    producer.start(0, b"", 10, wanted_slots=2)
    slot = producer.acquire()
    kept = memoryview(slot.buffer)
    producer.publish(slot, sequence=0, pts=0, duration=0, decoded_ns=0)
    consumer.receive()
    got = view(consumer)
    also = memoryview(got.buffer)
    consumer.release(got)
    producer.drain()
    kept.release()
    also.release()


@pytest.mark.parametrize(
    ("ring_bytes", "frame_bytes", "wanted", "slots"),
    [
        (1 << 20, 4096, 10, 10),
        (4096 * 5, 4096, 10, 4),  # one page is the header's
        (4096 * 5, 4097, 10, 2),
        (1 << 20, 4096, 1, 2),
        (4096, 4096, 10, 2),  # below two frames the volume decides
    ],
)
def test_the_ring_has_as_many_slots_as_are_wanted_and_fit(
    make_edge: MakeEdge, ring_bytes: int, frame_bytes: int, wanted: int, slots: int
) -> None:
    producer, _ = make_edge(ring_bytes=ring_bytes)
    assert producer.slots == 0
    producer.start(0, b"", frame_bytes, wanted_slots=wanted)
    assert producer.slots == slots


def test_a_smaller_item_reuses_the_ring_and_a_larger_one_replaces_it(make_edge: MakeEdge, tmp_path: Path) -> None:
    producer, (consumer,) = make_edge()
    starts = []
    for item, size in enumerate((9000, 50, 9000, 9001, 4)):
        producer.start(item, b"", size, wanted_slots=3)
        put(producer, item, item)
        start = consumer.receive()
        assert isinstance(start, Start)
        starts.append((start.ring_generation, start.slots, start.slot_bytes))
        got = view(consumer)
        assert got.buffer == bytes([item]) * size
        producer.end(item)
        consumer.release(got)
        assert consumer.receive() == End(item, 1)
        assert [path.name for path in tmp_path.iterdir()] == [f"ring-{start.ring_generation}"]
    assert starts == [(1, 3, 9000), (1, 3, 50), (1, 3, 9000), (2, 3, 9001), (2, 3, 4)]


def test_a_ring_that_cannot_be_made_does_not_stop_a_smaller_item(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, (consumer,) = make_edge()
    producer.start(0, b"", 10, wanted_slots=2)
    producer.end(0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", _full)
        with pytest.raises(MachineError):
            producer.start(1, b"", 1 << 16, wanted_slots=2)
    producer.start(2, b"", 10, wanted_slots=2)
    put(producer, 0, 5)
    received = [consumer.receive() for _ in range(3)]
    assert [message.item for message in received if isinstance(message, Start)] == [0, 2]
    assert view(consumer).buffer == bytes([5]) * 10


def _full(*_: int) -> None:
    raise OSError(28, "No space left on device")


class Releases:
    """A waiter that plays the consumers: whenever the producer waits, one frame is given back."""

    def __init__(self) -> None:
        self.held: list[tuple[RingConsumer, FrameView]] = []
        self.waits = 0

    def wait(self, *, readable: object = (), writable: object = ()) -> None:
        assert readable
        assert not writable
        self.waits += 1
        consumer, got = self.held.pop(0)
        consumer.release(got)


def test_acquire_waits_for_the_slowest_consumer(tmp_path: Path) -> None:
    ends = [pair(), pair()]
    waiter = Releases()
    producer = RingProducer(tmp_path, [Channel(ours) for ours, _ in ends], waiter, 1 << 20)
    fast, slow = (RingConsumer(tmp_path, Channel(theirs), PollWaiter()) for _, theirs in ends)
    producer.start(0, b"", 100, wanted_slots=2)
    for one in (fast, slow):
        one.receive()
    for sequence in range(2):
        put(producer, sequence, sequence)
        fast.release(view(fast))
        waiter.held.append((slow, view(slow)))
    put(producer, 2, 2, to=[0])
    assert waiter.waits == 1
    got = waiter.held[0][1]
    assert got.buffer == bytes([1]) * 100, "the frame that the slow one still reads is untouched"
    for end in (producer, fast, slow):
        end.close()


def test_a_dead_consumer_is_told(make_edge: MakeEdge) -> None:
    producer, consumers = make_edge(2)
    producer.start(0, b"", 10, wanted_slots=2)
    put(producer, 0, 0, to=[1])
    put(producer, 1, 0, to=[1])
    consumers[1].close()
    with pytest.raises(ComponentDied, match="credits"):
        producer.acquire()


def test_closing_removes_the_ring(make_edge: MakeEdge, tmp_path: Path) -> None:
    producer, (consumer,) = make_edge()
    producer.start(0, b"", 10, wanted_slots=2)
    put(producer, 0, 9)
    producer.close()
    assert not list(tmp_path.iterdir())
    consumer.receive()
    with pytest.raises(ProtocolError, match="frames: the announced ring cannot be opened"):
        consumer.receive()


def test_a_ring_may_be_replaced_before_its_start_was_read(make_edge: MakeEdge) -> None:
    producer, (consumer, other) = make_edge(2)
    producer.start(0, b"", 10, wanted_slots=2)
    producer.end(0, aborted=True)
    producer.start(1, b"", 9000, wanted_slots=2)
    put(producer, 0, 3, to=[0])
    received = [consumer.receive() for _ in range(3)]
    assert received == [Start(0, b"", 1, 2, 10), End(0, 0, aborted=True), Start(1, b"", 2, 2, 9000)]
    assert view(consumer).buffer == bytes([3]) * 9000
    assert [other.receive() for _ in range(3)] == received
    assert other.receive() is None


def test_a_ring_is_opened_with_the_size_of_its_first_item(make_edge: MakeEdge) -> None:
    producer, (consumer,) = make_edge()
    producer.start(0, b"", 9000, wanted_slots=2)
    producer.end(0)
    producer.start(1, b"", 10, wanted_slots=2)
    put(producer, 0, 3)
    for _ in range(3):
        consumer.receive()
    assert view(consumer).buffer == bytes([3]) * 10


HOSTILE_CREDITS: dict[str, Message] = {
    "double": Credit(0, 1),
    "slot beyond the ring": Credit(77, 1),
    "wrong generation": Credit(0, 2),
    "no credit": End(0, 0),
}


@pytest.mark.parametrize("name", HOSTILE_CREDITS)
def test_a_hostile_consumer(name: str, tmp_path: Path) -> None:
    ours, theirs = pair()
    producer = RingProducer(tmp_path, [Channel(ours, "raw to anonymize")], PollWaiter(), 1 << 20)
    producer.start(0, b"", 10, wanted_slots=2)
    put(producer, 0, 0)
    put(producer, 1, 0)
    for message in (Credit(0, 1), HOSTILE_CREDITS[name]):
        theirs.send(encode(message))
    with pytest.raises(ProtocolError, match="raw to anonymize"):
        producer.drain()
    producer.close()
    theirs.close()


def hostile(directory: Path, *said: Message | bytes) -> tuple[RingConsumer, socket.socket]:
    ours, theirs = pair()
    for message in said:
        theirs.send(message if isinstance(message, bytes) else encode(message))
    return RingConsumer(directory, Channel(ours, "raw from ingest"), PollWaiter()), theirs


def test_a_ring_cut_under_its_reader(tmp_path: Path) -> None:
    ring = Ring.create(tmp_path, 1, 2, 100)
    consumer, theirs = hostile(tmp_path, Start(0, b"", 1, 2, 100), Frame(0, 1, 1, 0, 0, 0))
    consumer.receive()
    os.truncate(tmp_path / "ring-1", 4096)
    with pytest.raises(ProtocolError, match="raw from ingest: the ring file has the wrong size"):
        consumer.receive()
    consumer.close()
    theirs.close()
    ring.close()


small = st.integers(0, 3)
said_by_producers: st.SearchStrategy[Message | bytes] = st.one_of(
    st.builds(Start, small, st.just(b""), st.sampled_from([1, 2]), st.sampled_from([1, 2, 3]), st.just(10)),
    st.builds(Frame, st.integers(0, 9), small, small, small, small, small),
    st.builds(Boxes, small, st.just(b"")),
    st.builds(Packet, small, small, small, small, st.just(b"")),
    st.builds(End, small, small, st.booleans()),
    st.builds(Credit, small, small),
    st.binary(max_size=50),
)


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("volume")
    Ring.create(directory, 1, 2, 10)
    Ring.create(directory, 2, 3, 10)
    return directory


@settings(deadline=None)
@given(said=st.lists(said_by_producers, max_size=8))
def test_a_hostile_producer_gets_nothing_but_protocol_errors(volume: Path, said: list[Message | bytes]) -> None:
    consumer, theirs = hostile(volume, *said)
    theirs.close()
    try:
        while (got := consumer.receive()) is not None:
            if isinstance(got, FrameView):
                assert len(got.buffer) == 10
    except (ProtocolError, ComponentDied):
        pass
    consumer.close()


_FRAMES, _SIDE = 400, 64 * 64


def _produce(directory: str, end: socket.socket) -> None:
    waiter = PollWaiter()
    producer = RingProducer(Path(directory), [Channel(end)], waiter, 1 << 20)
    for item in range(2):
        producer.start(item, b"{}", _SIDE * (item + 1), wanted_slots=3)
        for sequence in range(item * _FRAMES, (item + 1) * _FRAMES):
            put(producer, sequence, sequence % 251)
        producer.end(item)
    producer.drain()
    producer.close()


def test_two_processes_share_frames_in_place(tmp_path: Path) -> None:
    """Every byte of every frame, with a consumer that holds two frames and a ring that is replaced midway."""
    ours, theirs = pair()
    other = multiprocessing.get_context("spawn").Process(target=_produce, args=(str(tmp_path), theirs))
    other.start()
    theirs.close()
    waiter = PollWaiter()
    consumer = RingConsumer(tmp_path, Channel(ours), waiter)
    held: list[FrameView] = []
    seen = ends = 0
    while ends < 2:
        got = consumer.receive()
        if got is None:
            waiter.wait(readable=[consumer.channel])
        elif isinstance(got, FrameView):
            held.append(got)
            seen += 1
        if held and (len(held) > 2 or isinstance(got, End)):
            for done in held if isinstance(got, End) else held[:1]:
                fill = done.frame.sequence % 251
                assert bytes(done.buffer) == bytes([fill]) * len(done.buffer)
                consumer.release(done)
            held = [] if isinstance(got, End) else held[1:]
        ends += isinstance(got, End)
    other.join()
    assert other.exitcode == 0
    assert seen == 2 * _FRAMES
    assert consumer.held == 0
    consumer.close()
    other.close()


def _die(directory: str, end: socket.socket) -> None:
    producer = RingProducer(Path(directory), [Channel(end)], PollWaiter(), 1 << 20)
    producer.start(0, b"{}", _SIDE, wanted_slots=3)
    put(producer, 0, 1)
    os.kill(os.getpid(), 9)


def test_a_producer_killed_midway_is_dead_and_not_done(tmp_path: Path) -> None:
    ours, theirs = pair()
    other = multiprocessing.get_context("spawn").Process(target=_die, args=(str(tmp_path), theirs))
    other.start()
    theirs.close()
    other.join()
    assert other.exitcode == -9
    consumer = RingConsumer(tmp_path, Channel(ours), PollWaiter())
    assert isinstance(consumer.receive(), Start)
    assert view(consumer).buffer == bytes([1]) * _SIDE
    with pytest.raises(ComponentDied):
        consumer.receive()
    consumer.close()
    other.close()


def test_our_own_faults(make_edge: MakeEdge) -> None:
    producer, (consumer,) = make_edge()
    for frame_bytes in (0, 1 << 31):
        with pytest.raises(LocalProtocolError, match="no frame has"):
            producer.start(0, b"", frame_bytes, wanted_slots=2)
    producer.start(0, b"", 10, wanted_slots=2)
    slot = producer.acquire()
    producer.abandon(slot)
    with pytest.raises(LocalProtocolError):
        producer.publish(slot, sequence=0, pts=0, duration=0, decoded_ns=0)
    producer.end(0)
    with pytest.raises(LocalProtocolError):
        producer.acquire()
    assert consumer.held == 0


def test_starting_a_larger_item_waits_for_frames_that_are_still_read(tmp_path: Path) -> None:
    ours, theirs = pair()
    waiter = Releases()
    producer = RingProducer(tmp_path, [Channel(ours)], waiter, 1 << 20)
    consumer = RingConsumer(tmp_path, Channel(theirs), PollWaiter())
    producer.start(0, b"", 10, wanted_slots=2)
    put(producer, 0, 1)
    producer.end(0)
    consumer.receive()
    waiter.held.append((consumer, view(consumer)))
    producer.start(1, b"", 10_000, wanted_slots=2)
    assert waiter.waits == 1
    producer.close()
    consumer.close()
