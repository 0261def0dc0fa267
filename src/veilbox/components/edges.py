"""The edges of one component, by name, as the plan gave them."""

from __future__ import annotations

from collections.abc import Mapping

from veilbox.core.control import Configure, EdgeEnd
from veilbox.core.errors import ProtocolError
from veilbox.transport.channel import Channel
from veilbox.transport.consumer import RingConsumer
from veilbox.transport.messages import Boxes, Packet
from veilbox.transport.producer import RingProducer
from veilbox.transport.relay import Receiver, Sender
from veilbox.transport.waiting import Waiter


class Edges:
    """Finds the ends that the supervisor attached; an edge that the plan does not have is None."""

    def __init__(self, configure: Configure, channels: Mapping[EdgeEnd, Channel], waiter: Waiter) -> None:
        self._channels = channels
        self._waiter = waiter
        self._ring_bytes = configure.ring_bytes

    def boxes_out(self) -> Sender:
        """Where a detector's boxes go.

        Raises:
            ProtocolError: The plan has no such edge for this component.
        """
        (channel,) = self._exactly("boxes", 1, producer=True).values()
        return Sender(channel, self._waiter, Boxes)

    def boxes_in(self) -> dict[str, Receiver]:
        """By detector, where boxes come from."""
        ends = self._ends("boxes", producer=False)
        return {end.peer: Receiver(channel, Boxes) for end, channel in ends.items()}

    def audio_out(self) -> Sender | None:
        """Where audio packets go, if the policy keeps audio."""
        for channel in self._ends("audio", producer=True).values():
            return Sender(channel, self._waiter, Packet)
        return None

    def audio_in(self) -> Receiver | None:
        """Where audio packets come from, if the policy keeps audio."""
        for channel in self._ends("audio", producer=False).values():
            return Receiver(channel, Packet)
        return None

    def regions_out(self) -> Sender | None:
        """Where it goes which regions were hidden, if the plan has somebody who looks at the output."""
        for channel in self._ends("regions", producer=True).values():
            return Sender(channel, self._waiter, Boxes)
        return None

    def regions_in(self) -> Receiver:
        """Where it comes from which regions were hidden.

        Raises:
            ProtocolError: The plan has no such edge for this component.
        """
        (channel,) = self._exactly("regions", 1, producer=False).values()
        return Receiver(channel, Boxes)

    def ring_producer(self, edge: str) -> RingProducer | None:
        """The ring that this component fills on an edge."""
        ends = self._ends(edge, producer=True)
        if not ends:
            return None
        directory = next(iter(ends)).ring
        return RingProducer(directory, list(ends.values()), self._waiter, self._ring_bytes)

    def ring_consumer(self, edge: str) -> RingConsumer:
        """The ring that this component reads on an edge.

        Raises:
            ProtocolError: The plan has no such edge for this component.
        """
        ((end, channel),) = self._exactly(edge, 1, producer=False).items()
        return RingConsumer(end.ring, channel, self._waiter)

    def arriving(self, edge: str) -> Channel:
        """Where the only producer of an edge will be heard, before anybody reads it.

        Raises:
            ProtocolError: The plan has no such edge for this component.
        """
        (channel,) = self._exactly(edge, 1, producer=False).values()
        return channel

    def _exactly(self, edge: str, count: int, *, producer: bool) -> dict[EdgeEnd, Channel]:
        ends = self._ends(edge, producer=producer)
        if len(ends) != count:
            raise ProtocolError("an edge is missing", where=edge, expected=str(count), actual=str(len(ends)))
        return ends

    def _ends(self, edge: str, *, producer: bool) -> dict[EdgeEnd, Channel]:
        return {
            end: channel for end, channel in self._channels.items() if end.edge == edge and end.producer is producer
        }
