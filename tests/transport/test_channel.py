"""The socket of an edge: whole packets, never blocking, no descriptors, the peer's end told."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from veilbox.core.errors import ComponentDied, MachineError, ProtocolError
from veilbox.transport.channel import Channel, adopt, pair
from veilbox.transport.messages import MAX_PACKET_BYTES, MAX_PAYLOAD_BYTES, Boxes, Credit, End, Message, Packet, encode
from veilbox.transport.waiting import PollWaiter

Channels = tuple[Channel, Channel]


def test_messages_arrive_whole_and_in_order(channels: Channels) -> None:
    left, right = channels
    sent: list[Message] = [Credit(1, 2), Boxes(3, b"abc"), End(0, 1)]
    for message in sent:
        left.send(message, PollWaiter())
    assert [right.receive() for _ in sent] == sent
    assert right.receive() is None


def test_the_largest_packet_passes(channels: Channels) -> None:
    left, right = channels
    packet = Packet(1, 2, 3, 4, os.urandom(MAX_PAYLOAD_BYTES))
    assert left.try_send(packet)
    assert right.receive() == packet


def test_the_end_comes_after_what_was_sent_before(channels: Channels) -> None:
    left, right = channels
    right.try_send(Credit(9, 9))  # stays unread, so the kernel reports a reset before the rest
    left.try_send(Credit(1, 1))
    left.close()
    assert right.receive() == Credit(1, 1)
    for _ in range(2):
        with pytest.raises(ComponentDied, match="to left: the peer closed"):
            right.receive()
    with pytest.raises(ComponentDied):
        right.try_send(Credit(1, 1))


class Reader:
    """A waiter that reads at the other end, as a peer would meanwhile."""

    def __init__(self, peer: Channel) -> None:
        self.peer = peer
        self.read = 0
        self.waits = 0

    def wait(self, *, readable: Sequence[Channel] = (), writable: Sequence[Channel] = ()) -> None:
        assert not readable
        assert len(writable) == 1
        self.waits += 1
        while self.peer.receive() is not None:
            self.read += 1


def test_a_full_buffer_is_waited_for(channels: Channels) -> None:
    left, right = channels
    reader = Reader(right)
    sent = 0
    while left.try_send(Boxes(sent, bytes(100_000))):
        sent += 1
    assert sent > 1
    left.send(Boxes(sent, bytes(100_000)), reader)
    assert reader.waits == 1
    assert reader.read == sent
    assert right.receive() == Boxes(sent, bytes(100_000))


def test_a_waiter_may_end_it_all(channels: Channels) -> None:
    class Ends:
        def wait(self, *, readable: Sequence[Channel] = (), writable: Sequence[Channel] = ()) -> None:
            raise InterruptedError(len(readable) + len(writable))

    while channels[0].try_send(Boxes(0, bytes(100_000))):
        pass
    with pytest.raises(InterruptedError):
        channels[0].send(Boxes(0, bytes(100_000)), Ends())


HOSTILE = {
    "noise": (b"noise", "protocol version"),
    "cut": (encode(Credit(0, 0))[:-1], "wrong length"),
    "one byte too long": (bytes(MAX_PACKET_BYTES + 1), "packet too long"),
    "far too long": (bytes(MAX_PACKET_BYTES + 100_000), "packet too long"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_packet_is_a_protocol_error_at_its_edge(name: str) -> None:
    ours, theirs = pair()
    packet, told = HOSTILE[name]
    theirs.send(packet)
    channel = Channel(ours, "raw from ingest")
    with pytest.raises(ProtocolError, match=f"raw from ingest: .*{told}"):
        channel.receive()
    channel.close()
    theirs.close()


def test_an_empty_packet_reads_as_the_end() -> None:
    ours, theirs = pair()
    theirs.send(b"")
    channel = Channel(ours)
    with pytest.raises(ComponentDied):
        channel.receive()
    channel.close()
    theirs.close()


def test_an_unexpected_descriptor_is_dropped_and_named() -> None:
    ours, theirs = pair()
    read, write = os.pipe()
    socket.send_fds(theirs, [encode(Credit(0, 0))], [write])
    os.close(write)
    channel = Channel(ours)
    with pytest.raises(ProtocolError, match="unexpected descriptor"):
        channel.receive()
    assert os.read(read, 1) == b"", "the kernel closed the last copy"
    os.close(read)
    channel.close()
    theirs.close()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=80), max_size=5))
def test_noise_is_nothing_but_a_protocol_error(packets: list[bytes]) -> None:
    ours, theirs = pair()
    channel = Channel(ours)
    for packet in packets:
        theirs.send(packet)
    theirs.close()
    try:
        while channel.receive() is not None:
            pass
    except (ProtocolError, ComponentDied):
        pass
    channel.close()


def test_ends_are_not_inherited_and_have_room() -> None:
    ends = pair()
    for end in ends:
        assert not end.get_inheritable()
        assert end.type == socket.SOCK_SEQPACKET
        end.close()


def test_a_system_with_small_buffers_is_told() -> None:
    ours, theirs = pair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    channel = Channel(ours)
    with pytest.raises(MachineError, match=r"net\.core\.wmem_max"):
        channel.try_send(Packet(0, 0, 0, 0, bytes(MAX_PAYLOAD_BYTES)))
    channel.close()
    theirs.close()


def test_only_the_right_kind_of_socket_is_adopted() -> None:
    stream = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    read, write = os.pipe()
    for fd in (read, stream[0].detach()):
        with pytest.raises(ProtocolError, match="expected a SOCK_SEQPACKET Unix socket"):
            adopt(fd)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    stream[1].close()
    os.close(write)
    ours, theirs = pair()
    channel = Channel.from_fd(ours.detach(), "edge")
    assert channel.fileno() >= 0
    channel.close()
    assert channel.fileno() == -1
    theirs.close()


def test_the_poll_waiter_returns_when_something_is_ready(channels: Channels) -> None:
    left, right = channels
    waiter = PollWaiter(beat_ms=60_000)
    waiter.wait(writable=[left])
    left.try_send(Credit(0, 0))
    waiter.wait(readable=[right])
    assert right.receive() == Credit(0, 0)
    left.close()
    waiter.wait(readable=[right])
