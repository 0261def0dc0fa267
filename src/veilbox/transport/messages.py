"""What producer and consumer of an edge say to each other: values, and one packet for each.

A packet is a version byte, a kind byte and little-endian fields; a payload, where the kind has one, is the packet's
rest. Packets are bounded by the socket (SOCK_SEQPACKET), so no length field can disagree with a length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from veilbox.core.errors import ProtocolError
from veilbox.core.frozen import frozen
from veilbox.core.seen import Seen
from veilbox.transport.bounds import inside

VERSION = 2

# Frame.flags: the frame's picture also went to the detectors.
ANALYSED = 1
_KNOWN_FLAGS = ANALYSED

# A StreamInfo is about 400 bytes; a JPEG's four quantization tables add 2 KiB; codec set-up data of the audio codecs
# in use (Vorbis is the largest) stays below 16 KiB.
MAX_INFO_BYTES = 64 << 10
# One audio packet: a second of 24-bit PCM in stereo is 288 kB.
MAX_PAYLOAD_BYTES = 512 << 10
# A film's ring has look-ahead (at most 60) and a few slots more.
MAX_SLOTS = 1_024
# `core.frame` allows 2**27 pixels of at most six bytes (yuv444p10le); the next power of two.
MAX_SLOT_BYTES = 1 << 30


class LocalProtocolError(RuntimeError):
    """This process used the transport wrongly: a bug of ours, not a peer's fault."""


@frozen(kw_only=False)
class Start:
    """To a consumer: an item begins.

    Attributes:
        item: Strictly increasing on an edge; items may be skipped.
        info: What `info.encode_info` gave, JSON; empty where an edge needs none.
        ring_generation: Names the ring file; a new one replaces the file.
        slots: Of the ring; 0 on an edge without a ring.
        slot_bytes: Bytes of one frame of this item, at most what the ring's slots hold.
    """

    item: int
    info: bytes
    ring_generation: int = 0
    slots: int = 0
    slot_bytes: int = 0


@frozen(kw_only=False)
class Frame:
    """To a consumer: a slot holds a frame and is the consumer's until it gives credit.

    Attributes:
        sequence: Strictly increasing on an edge, from item to item too; a detector's edge may leave out frames.
        slot: Index in the ring.
        generation: The ring's.
        pts: In the stream's time base.
        duration: Likewise; 0 if unknown.
        decoded_ns: CLOCK_MONOTONIC when the frame was decoded.
        flags: `ANALYSED` or 0.
    """

    sequence: int
    slot: int
    generation: int
    pts: int
    duration: int
    decoded_ns: int
    flags: int = 0


@frozen(kw_only=False)
class Boxes:
    """To a consumer: what a detector found in the frame of that sequence, `Detections.pack()`.

    Attributes:
        seen: How much of the frame it looked at.
    """

    sequence: int
    payload: bytes
    seen: Seen = Seen.WHOLE


@frozen(kw_only=False)
class Packet:
    """To a consumer: one coded audio packet, times in the audio stream's time base."""

    pts: int
    dts: int
    duration: int
    flags: int
    payload: bytes


@frozen(kw_only=False)
class End:
    """To a consumer: the item is over.

    Attributes:
        frames: Frames, boxes or packets sent to this consumer since the item's Start.
        aborted: The source failed; what was sent must not be released.
    """

    item: int
    frames: int
    aborted: bool = False


@frozen(kw_only=False)
class Credit:
    """To a producer: a slot may be written again."""

    slot: int
    generation: int


Message = Start | Frame | Boxes | Packet | End | Credit

_START = struct.Struct("<BBIIIQ")
_FRAME = struct.Struct("<BBqIIqqqI")
_BOXES = struct.Struct("<BBqB")
_PACKET = struct.Struct("<BBqqqI")
_END = struct.Struct("<BBIQB")
_CREDIT = struct.Struct("<BBII")
_KIND = {Start: 1, Frame: 2, Boxes: 3, Packet: 4, End: 5, Credit: 6}

# The longest packet that any message makes.
MAX_PACKET_BYTES = MAX_PAYLOAD_BYTES + _PACKET.size


def encode(message: Message) -> bytes:
    """The packet of a message.

    Raises:
        LocalProtocolError: A field does not fit the wire format.
    """
    try:
        packet = _ENCODERS[type(message)](message)
    except (struct.error, KeyError, TypeError) as error:
        raise LocalProtocolError(f"{message!r:.200} cannot be sent: {error}") from error
    bound = _START.size + MAX_INFO_BYTES if type(message) is Start else MAX_PACKET_BYTES
    if len(packet) > bound:
        raise LocalProtocolError(f"{type(message).__name__} of {len(packet)} bytes is above the bound of {bound}")
    return packet


def decode(packet: bytes) -> Message:
    """The message of a packet that a peer sent.

    Raises:
        ProtocolError: It is no packet of this version, or a field is out of its bounds.
    """
    if len(packet) < 2:
        raise ProtocolError("packet too short", expected=">= 2 bytes", actual=f"{len(packet)} bytes")
    if packet[0] != VERSION:
        raise ProtocolError("unknown protocol version", expected=str(VERSION), actual=str(packet[0]))
    decoder = _DECODERS.get(packet[1])
    if decoder is None:
        raise ProtocolError("unknown kind of message", expected=f"1 to {len(_DECODERS)}", actual=str(packet[1]))
    return decoder(packet)


def _encode_start(message: Start) -> bytes:
    fields = (message.item, message.ring_generation, message.slots, message.slot_bytes)
    return _START.pack(VERSION, _KIND[Start], *fields) + message.info


def _encode_frame(message: Frame) -> bytes:
    return _FRAME.pack(
        VERSION,
        2,
        message.sequence,
        message.slot,
        message.generation,
        message.pts,
        message.duration,
        message.decoded_ns,
        message.flags,
    )


def _encode_boxes(message: Boxes) -> bytes:
    return _BOXES.pack(VERSION, _KIND[Boxes], message.sequence, message.seen) + message.payload


def _encode_packet(message: Packet) -> bytes:
    head = _PACKET.pack(VERSION, _KIND[Packet], message.pts, message.dts, message.duration, message.flags)
    return head + message.payload


def _encode_end(message: End) -> bytes:
    return _END.pack(VERSION, _KIND[End], message.item, message.frames, message.aborted)


def _encode_credit(message: Credit) -> bytes:
    return _CREDIT.pack(VERSION, _KIND[Credit], message.slot, message.generation)


_ENCODERS: dict[type, Callable[..., bytes]] = {
    Start: _encode_start,
    Frame: _encode_frame,
    Boxes: _encode_boxes,
    Packet: _encode_packet,
    End: _encode_end,
    Credit: _encode_credit,
}


def _fields(layout: struct.Struct, packet: bytes, name: str, payload: int = 0) -> tuple[int, ...]:
    """Unpack the fixed fields; the rest of the packet may hold up to `payload` bytes."""
    spare = len(packet) - layout.size
    if not 0 <= spare <= payload:
        expected = f"{layout.size} bytes" + (f" and a payload of at most {payload}" if payload else "")
        raise ProtocolError(f"{name} of the wrong length", expected=expected, actual=f"{len(packet)} bytes")
    fields: tuple[int, ...] = layout.unpack_from(packet)
    return fields


def _decode_start(packet: bytes) -> Start:
    _, _, item, generation, slots, slot_bytes = _fields(_START, packet, "Start", MAX_INFO_BYTES)
    inside("Start.slots", slots, 0, MAX_SLOTS)
    inside("Start.slot_bytes", slot_bytes, 0, MAX_SLOT_BYTES)
    if (slots == 0) != (slot_bytes == 0):
        raise ProtocolError(
            "Start.slots and Start.slot_bytes disagree",
            expected="both positive or both 0",
            actual=f"{slots} and {slot_bytes}",
        )
    return Start(item, packet[_START.size :], generation, slots, slot_bytes)


def _decode_frame(packet: bytes) -> Frame:
    _, _, sequence, slot, generation, pts, duration, decoded_ns, flags = _fields(_FRAME, packet, "Frame")
    if sequence < 0 or duration < 0 or decoded_ns < 0:
        raise ProtocolError(
            "a Frame's sequence, duration or time is negative",
            expected=">= 0",
            actual=f"{sequence}, {duration}, {decoded_ns}",
        )
    if flags & ~_KNOWN_FLAGS:
        raise ProtocolError("unknown flags of a Frame", expected=f"bits of {_KNOWN_FLAGS:#x}", actual=f"{flags:#x}")
    return Frame(sequence, slot, generation, pts, duration, decoded_ns, flags)


def _decode_boxes(packet: bytes) -> Boxes:
    _, _, sequence, seen = _fields(_BOXES, packet, "Boxes", MAX_PAYLOAD_BYTES)
    if sequence < 0:
        raise ProtocolError("Boxes.sequence is negative", expected=">= 0", actual=str(sequence))
    inside("Boxes.seen", seen, 0, max(Seen))
    return Boxes(sequence, packet[_BOXES.size :], Seen(seen))


def _decode_packet(packet: bytes) -> Packet:
    _, _, pts, dts, duration, flags = _fields(_PACKET, packet, "Packet", MAX_PAYLOAD_BYTES)
    if duration < 0:
        raise ProtocolError("Packet.duration is negative", expected=">= 0", actual=str(duration))
    return Packet(pts, dts, duration, flags, packet[_PACKET.size :])


def _decode_end(packet: bytes) -> End:
    _, _, item, frames, aborted = _fields(_END, packet, "End")
    inside("End.aborted", aborted, 0, 1)
    return End(item, frames, bool(aborted))


def _decode_credit(packet: bytes) -> Credit:
    _, _, slot, generation = _fields(_CREDIT, packet, "Credit")
    return Credit(slot, generation)


_DECODERS: dict[int, Callable[[bytes], Message]] = {
    1: _decode_start,
    2: _decode_frame,
    3: _decode_boxes,
    4: _decode_packet,
    5: _decode_end,
    6: _decode_credit,
}
