"""The producing end of an edge with a ring."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from veilbox.core.errors import ProtocolError
from veilbox.transport.channel import Channel
from veilbox.transport.messages import MAX_SLOT_BYTES, MAX_SLOTS, LocalProtocolError, Message
from veilbox.transport.protocol import Producer
from veilbox.transport.ring import HEADER_BYTES, Folder, Ring, stride
from veilbox.transport.waiting import Waiter

# One slot is written while the other is read; with fewer the two sides would take turns.
_MIN_SLOTS = 2


def fitting_slots(wanted: int, slot_bytes: int, ring_bytes: int) -> int:
    """How many of the wanted slots a new ring gets: as many as fit, and never fewer than 2.

    Args:
        wanted: At least 1.
        slot_bytes: Bytes of one frame.
        ring_bytes: As in `RingProducer`.
    """
    room = (ring_bytes - HEADER_BYTES) // stride(slot_bytes)
    return max(_MIN_SLOTS, min(wanted, room, MAX_SLOTS))


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A slot to write a frame into.

    Attributes:
        index: In the ring.
        buffer: (slot_bytes of the item,) writable bytes; not to be touched after `publish`.
    """

    index: int
    buffer: memoryview


class RingProducer:
    """Writes frames into a ring and hands them to consumers.

    Args:
        directory: The edge's volume, writable.
        channels: One for each consumer; owned by the producer from now on.
        waiter: Waits when no slot is free or a socket is full.
        ring_bytes: The volume's size; no ring file is larger.
    """

    def __init__(self, directory: Folder, channels: Sequence[Channel], waiter: Waiter, ring_bytes: int) -> None:
        self._directory = directory
        self._channels = tuple(channels)
        self._waiter = waiter
        self._ring_bytes = ring_bytes
        self._protocol = Producer(len(self._channels))
        self._ring: Ring | None = None
        self._frame_bytes = 0

    @property
    def slots(self) -> int:
        """Slots of the present ring; 0 before the first item."""
        return self._protocol.slots

    def start(self, item: int, info: bytes, slot_bytes: int, *, wanted_slots: int) -> None:
        """Begin an item.

        The present ring is used if it has the slots and the room; a new one has to wait until every frame was given
        back.

        Args:
            item: Greater than every one before.
            info: What `info.encode_info` gave.
            slot_bytes: Bytes of one frame.
            wanted_slots: The ring gets so many if the volume has room for them, and never fewer than 2.

        Raises:
            MachineError: The volume has no room for two frames.
        """
        if not 0 < slot_bytes <= MAX_SLOT_BYTES:
            raise LocalProtocolError(f"no frame has {slot_bytes} bytes")
        slots = fitting_slots(wanted_slots, slot_bytes, self._ring_bytes)
        if not self._protocol.fits(slots, slot_bytes):
            self._replace(slots, slot_bytes)
        start = self._protocol.start_ring(item, info, slots, slot_bytes)
        self._frame_bytes = slot_bytes
        for channel in self._channels:
            channel.send(start, self._waiter)

    def acquire(self) -> Slot:
        """A slot to write into; waits until there is one.

        Raises:
            ComponentDied: A consumer closed its end.
            ProtocolError: A consumer sent what it may not.
        """
        while (index := self._protocol.acquire()) is None:
            if not self._collect():
                self._waiter.wait(readable=self._channels)
        return Slot(index, self._mapped().slot(index)[: self._frame_bytes])

    def abandon(self, slot: Slot) -> None:
        """Give a slot back unsent."""
        self._protocol.abandon(slot.index)

    def publish(
        self,
        slot: Slot,
        *,
        sequence: int,
        pts: int,
        duration: int,
        decoded_ns: int,
        flags: int = 0,
        to: Sequence[int] | None = None,
    ) -> None:
        """Hand a written slot to the consumers.

        Args:
            slot: From `acquire`.
            sequence: Greater than every one before, from item to item too.
            pts: In the stream's time base.
            duration: Likewise; 0 if unknown.
            decoded_ns: CLOCK_MONOTONIC.
            flags: `ANALYSED` or 0.
            to: Indexes of the channels that get the frame; all by default.
        """
        frame = self._protocol.publish(
            slot.index, sequence=sequence, pts=pts, duration=duration, decoded_ns=decoded_ns, flags=flags, to=to
        )
        with suppress(BufferError):  # an array may still refer to the bytes; it must not be written any more
            slot.buffer.release()
        for channel in self._channels if to is None else [self._channels[index] for index in to]:
            channel.send(frame, self._waiter)

    def end(self, item: int, *, aborted: bool = False) -> None:
        """End an item; slots that were acquired and not published are taken back if it is aborted."""
        for channel, end in zip(self._channels, self._protocol.end(item, aborted=aborted), strict=True):
            channel.send(end, self._waiter)

    def drain(self) -> None:
        """Wait until every frame was given back."""
        while not self._protocol.drained:
            if not self._collect():
                self._waiter.wait(readable=self._channels)

    def leave(self) -> None:
        """Give the ring's memory back if nobody reads in it; the channels stay open, for they tell of our death."""
        self._collect()
        if self._ring is not None and self._protocol.drained:
            self._ring.retire()
            self._ring = None

    def close(self) -> None:
        """Close the channels and remove the ring file; `drain` first, or frames that were not read are lost."""
        for channel in self._channels:
            channel.close()
        if self._ring is not None:
            self._ring.unlink()
            self._ring.close()
            self._ring = None

    def _replace(self, slots: int, slot_bytes: int) -> None:
        self.drain()
        if self._ring is not None:
            self._ring.retire()
            self._ring = None
        # From here until the next ring stands there is none; a failure leaves that behind and a later item may do.
        self._protocol.discard_ring()
        self._ring = Ring.create(self._directory, self._protocol.generation + 1, slots, slot_bytes)

    def _mapped(self) -> Ring:
        if self._ring is None:  # the protocol gives no slot without a ring
            raise LocalProtocolError("there is no ring")
        return self._ring

    def _collect(self) -> bool:
        """Take every credit that has arrived; whether there was one."""
        arrived = False
        for index, channel in enumerate(self._channels):
            while (message := channel.receive()) is not None:
                self._take(index, channel, message)
                arrived = True
        return arrived

    def _take(self, index: int, channel: Channel, message: Message) -> None:
        try:
            self._protocol.receive(index, message)
        except ProtocolError as error:
            raise error.located(channel.name) from error
