"""Both ends of an edge without a ring: boxes and audio packets, which carry their own payload."""

from __future__ import annotations

from veilbox.core.errors import ProtocolError
from veilbox.transport.channel import Channel
from veilbox.transport.messages import Boxes, End, Frame, LocalProtocolError, Packet, Start
from veilbox.transport.protocol import Consumer, Producer
from veilbox.transport.waiting import Waiter

Payload = type[Boxes] | type[Packet]


class Sender:
    """The producing end.

    Args:
        channel: To the one consumer; owned by the sender from now on.
        waiter: Waits when the socket is full.
        carries: What the edge carries between Start and End.
    """

    def __init__(self, channel: Channel, waiter: Waiter, carries: Payload) -> None:
        self.channel = channel
        self._waiter = waiter
        self._protocol = Producer(carries=carries)

    def start(self, item: int, info: bytes = b"") -> None:
        """Begin an item."""
        self.channel.send(self._protocol.start(item, info), self._waiter)

    def send(self, message: Boxes | Packet) -> None:
        """Send one message of the kind that the edge carries."""
        self._protocol.forward(message)
        self.channel.send(message, self._waiter)

    def end(self, item: int, *, aborted: bool = False) -> None:
        """End the item."""
        for end in self._protocol.end(item, aborted=aborted):
            self.channel.send(end, self._waiter)

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()


class Receiver:
    """The consuming end; order, item and count are checked as for frames.

    Args:
        channel: To the producer; owned by the receiver from now on.
        carries: What the edge carries between Start and End.
    """

    def __init__(self, channel: Channel, carries: Payload) -> None:
        self.channel = channel
        self._protocol = Consumer(carries=carries)

    def receive(self) -> Start | Boxes | Packet | End | None:
        """The next message, or None if none has arrived.

        Raises:
            ComponentDied: The producer closed its end.
            ProtocolError: What arrived is not allowed.
        """
        message = self.channel.receive()
        if message is None:
            return None
        try:
            checked = self._protocol.receive(message)
        except ProtocolError as error:
            raise error.located(self.channel.name) from error
        if isinstance(checked, Frame):  # the protocol lets only the carried kind through
            raise LocalProtocolError("an edge without a ring carries no frames")
        return checked

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()
