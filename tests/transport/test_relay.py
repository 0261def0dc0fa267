"""Edges without a ring: boxes and audio packets with the order and count of frames."""

from __future__ import annotations

import pytest

from veilbox.core.errors import ComponentDied, ProtocolError
from veilbox.transport.channel import Channel
from veilbox.transport.messages import Boxes, Credit, End, Frame, LocalProtocolError, Message, Packet, Start
from veilbox.transport.relay import Payload, Receiver, Sender
from veilbox.transport.waiting import PollWaiter

Channels = tuple[Channel, Channel]


@pytest.mark.parametrize(
    ("carries", "sent"),
    [
        (Boxes, [Boxes(0, b"a"), Boxes(4, b""), Boxes(5, b"c")]),
        (Packet, [Packet(5, 3, 1, 1, b"a"), Packet(-1, -1, 0, 0, b"")]),
    ],
)
def test_two_items(carries: Payload, sent: list[Boxes | Packet], channels: Channels) -> None:
    sender, receiver = Sender(channels[0], PollWaiter(), carries), Receiver(channels[1], carries)
    sender.start(0, b"info")
    for message in sent:
        sender.send(message)
    sender.end(0)
    sender.start(1)
    sender.end(1, aborted=True)
    sender.close()
    expected = [Start(0, b"info"), *sent, End(0, len(sent)), Start(1, b""), End(1, 0, aborted=True)]
    assert [receiver.receive() for _ in expected] == expected
    with pytest.raises(ComponentDied):
        receiver.receive()


FAULTS: dict[str, tuple[list[Message], str]] = {
    "no start": ([Boxes(0, b"")], "expected Start, got Boxes"),
    "a ring": ([Start(0, b"", 1, 2, 3)], "expected no ring, got 2 slots"),
    "a frame": ([Start(0, b""), Frame(0, 0, 0, 0, 0, 0)], "expected Boxes or End, got Frame"),
    "audio": ([Start(0, b""), Packet(0, 0, 0, 0, b"")], "got Packet"),
    "a credit": ([Start(0, b""), Credit(0, 0)], "got Credit"),
    "sequence repeated": ([Start(0, b""), Boxes(0, b""), Boxes(0, b"")], "expected > 0, got 0"),
    "boxes lost": ([Start(0, b""), Boxes(0, b""), End(0, 2)], "expected item 0, 1 frames"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_hostile_sender(name: str, channels: Channels) -> None:
    said, told = FAULTS[name]
    for message in said:
        assert channels[0].try_send(message)
    receiver = Receiver(channels[1], Boxes)
    for _ in said[:-1]:
        receiver.receive()
    with pytest.raises(ProtocolError, match=f"to left: .*{told}"):
        receiver.receive()


def test_nothing_has_arrived(channels: Channels) -> None:
    receiver = Receiver(channels[1], Boxes)
    assert receiver.receive() is None
    receiver.close()


def test_our_own_faults(channels: Channels) -> None:
    sender = Sender(channels[0], PollWaiter(), Boxes)
    with pytest.raises(LocalProtocolError):
        sender.send(Boxes(0, b""))
    sender.start(0)
    with pytest.raises(LocalProtocolError):
        sender.send(Packet(0, 0, 0, 0, b""))
    with pytest.raises(LocalProtocolError):
        sender.end(1)
