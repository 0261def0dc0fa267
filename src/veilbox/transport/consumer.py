"""The consuming end of an edge with a ring."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from veilbox.core.errors import ProtocolError
from veilbox.transport.channel import Channel
from veilbox.transport.messages import End, Frame, LocalProtocolError, Start
from veilbox.transport.protocol import Consumer
from veilbox.transport.ring import Folder, Ring
from veilbox.transport.waiting import Waiter


@dataclass(frozen=True, slots=True, eq=False)
class FrameView:
    """A frame in place in the ring.

    Attributes:
        frame: What its producer said about it.
        buffer: (slot_bytes of the item,) read-only bytes; not to be touched after `release`, nor arrays made from it.
    """

    frame: Frame
    buffer: memoryview


class RingConsumer:
    """Receives frames in place and gives them back.

    Args:
        directory: The edge's volume, read-only.
        channel: To the producer; owned by the consumer from now on.
        waiter: Waits when a credit cannot be sent at once.
    """

    def __init__(self, directory: Folder, channel: Channel, waiter: Waiter) -> None:
        self.channel = channel
        self._directory = directory
        self._waiter = waiter
        self._protocol = Consumer()
        self._ring: Ring | None = None
        self._announced: Start | None = None  # the first of the present generation: what the ring's slots hold
        self._frame_bytes = 0

    @property
    def held(self) -> int:
        """Frames that were received and not released."""
        return self._protocol.held

    def receive(self) -> Start | FrameView | End | None:
        """The next message, or None if none has arrived.

        Raises:
            ComponentDied: The producer closed its end.
            ProtocolError: What arrived is not allowed, or the ring is not the announced one.
        """
        message = self.channel.receive()
        if message is None:
            return None
        try:
            return self._checked(self._protocol.receive(message))
        except ProtocolError as error:
            raise error.located(self.channel.name) from error

    def release(self, view: FrameView) -> None:
        """Give a frame's slot back to the producer."""
        credit = self._protocol.release(view.frame.slot)
        # An array may still refer to the bytes. It sees a later frame if it is used: a spoilt picture, no bound.
        with suppress(BufferError):
            view.buffer.release()
        self.channel.send(credit, self._waiter)

    def close(self) -> None:
        """Close the channel and unmap the ring."""
        self.channel.close()
        self._unmap()

    def _checked(self, message: object) -> Start | FrameView | End:
        if isinstance(message, Frame):
            ring = self._mapped()
            ring.check()
            return FrameView(message, ring.slot(message.slot)[: self._frame_bytes].toreadonly())
        if isinstance(message, Start):
            self._begin(message)
            return message
        if isinstance(message, End):
            return message
        raise LocalProtocolError(f"a ring carries no {type(message).__name__}")

    def _begin(self, start: Start) -> None:
        self._frame_bytes = start.slot_bytes
        if self._announced is None or start.ring_generation != self._announced.ring_generation:
            self._announced = start
            self._unmap()

    def _mapped(self) -> Ring:
        """The ring of the present generation, opened with its first frame.

        Not with its Start: a producer may have replaced the ring of an item without frames before we hear of it. A
        frame that we have not given back keeps its ring.
        """
        if self._ring is None:
            start = self._announced
            if start is None:  # the protocol lets no frame through before a Start
                raise LocalProtocolError("no ring was announced")
            self._ring = Ring.open(self._directory, start.ring_generation, start.slots, start.slot_bytes)
        return self._ring

    def _unmap(self) -> None:
        if self._ring is not None:
            self._ring.close()
            self._ring = None
