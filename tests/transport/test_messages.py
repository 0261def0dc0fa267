"""The wire: what goes in comes out, and nothing that a peer sends is more than a ProtocolError."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.errors import ProtocolError
from veilbox.core.seen import Seen
from veilbox.transport.messages import (
    ANALYSED,
    MAX_INFO_BYTES,
    MAX_PACKET_BYTES,
    MAX_PAYLOAD_BYTES,
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
    decode,
    encode,
)

u32 = st.integers(0, 2**32 - 1)
u63 = st.integers(0, 2**63 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
payloads = st.binary(max_size=200)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Start, u32, payloads, u32, st.integers(1, MAX_SLOTS), st.integers(1, MAX_SLOT_BYTES)),
    st.builds(Start, u32, payloads, u32),
    st.builds(Frame, u63, u32, u32, i64, u63, u63, st.sampled_from([0, ANALYSED])),
    st.builds(Boxes, u63, payloads, st.sampled_from(Seen)),
    st.builds(Packet, i64, i64, u63, u32, payloads),
    st.builds(End, u32, u63, st.booleans()),
    st.builds(Credit, u32, u32),
)


@given(messages)
def test_every_message_survives_the_wire(message: Message) -> None:
    assert decode(encode(message)) == message


@given(messages, st.data())
def test_a_changed_packet_is_another_message_or_a_protocol_error(message: Message, data: st.DataObject) -> None:
    packet = bytearray(encode(message))
    packet[data.draw(st.integers(0, len(packet) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(bytes(packet))
    except ProtocolError:
        return
    assert other != message
    assert encode(other) == bytes(packet), "two packets must not mean the same"


@given(messages, st.integers(0, 60))
def test_a_cut_packet_is_another_message_or_a_protocol_error(message: Message, length: int) -> None:
    packet = encode(message)[:length]
    try:
        other = decode(packet)
    except ProtocolError:
        return
    assert encode(other) == packet


@given(st.binary(max_size=80), st.integers(0, 8))
def test_noise_is_a_message_or_a_protocol_error(noise: bytes, kind: int) -> None:
    for packet in (noise, bytes([1, kind]) + noise):
        try:
            message = decode(packet)
        except ProtocolError:
            continue
        assert encode(message) == packet


_FRAME = "<BBqIIqqqI"
BAD_PACKETS = {
    "empty": (b"", "2 bytes"),
    "no kind": (b"\x02", "2 bytes"),
    "version 0": (b"\x00\x06" + bytes(8), "expected 2, got 0"),
    "version 1": (b"\x01\x06" + bytes(8), "expected 2, got 1"),
    "kind 0": (b"\x02\x00", "expected 1 to 6, got 0"),
    "kind 7": (b"\x02\x07", "expected 1 to 6, got 7"),
    "credit cut": (b"\x02\x06" + bytes(7), "expected 10 bytes, got 9 bytes"),
    "credit with a tail": (b"\x02\x06" + bytes(9), "expected 10 bytes, got 11 bytes"),
    "end neither aborted nor not": (struct.pack("<BBIQB", 2, 5, 0, 0, 2), "expected 0 to 1, got 2"),
    "frame with a negative sequence": (struct.pack(_FRAME, 2, 2, -1, 0, 0, 0, 0, 0, 0), "-1"),
    "frame with a negative duration": (struct.pack(_FRAME, 2, 2, 0, 0, 0, 0, -5, 0, 0), "-5"),
    "frame with unknown flags": (struct.pack(_FRAME, 2, 2, 0, 0, 0, 0, 0, 0, 6), "got 0x6"),
    "boxes with a negative sequence": (struct.pack("<BBqB", 2, 3, -9, 0), "-9"),
    "boxes seen more than whole": (struct.pack("<BBqB", 2, 3, 0, 3), "expected 0 to 2, got 3"),
    "packet with a negative duration": (struct.pack("<BBqqqI", 2, 4, 0, 0, -7, 0), "-7"),
    "start with too many slots": (struct.pack("<BBIIIQ", 2, 1, 0, 1, MAX_SLOTS + 1, 1), "got 1025"),
    "start with too large slots": (struct.pack("<BBIIIQ", 2, 1, 0, 1, 1, MAX_SLOT_BYTES + 1), "slot_bytes"),
    "start with slots of nothing": (struct.pack("<BBIIIQ", 2, 1, 0, 1, 4, 0), "4 and 0"),
    "start with bytes without slots": (struct.pack("<BBIIIQ", 2, 1, 0, 1, 0, 4), "0 and 4"),
    "start with too long info": (struct.pack("<BBIIIQ", 2, 1, 0, 1, 1, 1) + bytes(MAX_INFO_BYTES + 1), "65536"),
    "boxes too long": (struct.pack("<BBqB", 2, 3, 0, 2) + bytes(MAX_PAYLOAD_BYTES + 1), "524288"),
}


@pytest.mark.parametrize("name", BAD_PACKETS)
def test_a_bad_packet_is_named(name: str) -> None:
    packet, told = BAD_PACKETS[name]
    with pytest.raises(ProtocolError) as caught:
        decode(packet)
    assert told in str(caught.value)


BAD_MESSAGES: dict[str, object] = {
    "slot beyond 32 bits": Credit(2**32, 0),
    "negative item": End(-1, 0),
    "fraction": Frame(0, 0, 0, 0.5, 0, 0),  # type: ignore[arg-type]
    "text for bytes": Boxes(0, "boxes"),  # type: ignore[arg-type]
    "no message": object(),
    "info too long": Start(0, bytes(MAX_INFO_BYTES + 1), 1, 1, 1),
    "payload too long": Packet(0, 0, 0, 0, bytes(MAX_PAYLOAD_BYTES + 1)),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_what_we_cannot_send_is_our_own_fault(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode(BAD_MESSAGES[name])  # type: ignore[arg-type]


def test_the_largest_messages_fit() -> None:
    assert len(encode(Packet(0, 0, 0, 0, bytes(MAX_PAYLOAD_BYTES)))) == MAX_PACKET_BYTES
    assert decode(encode(Start(0, bytes(MAX_INFO_BYTES), 1, 1, 1))) == Start(0, bytes(MAX_INFO_BYTES), 1, 1, 1)
