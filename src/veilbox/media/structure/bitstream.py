"""Coded packets: units that carry pictures, and none that carries words.

H.264 (ITU-T H.264, table 7-1), HEVC (ITU-T H.265, table 7-1), MPEG-4 part 2 (ISO/IEC 14496-2, table 6-3), AV1 (clause
5.3.1). VP9 has no units: a packet is a frame, or a superframe of some.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from veilbox.media.structure.flaws import Flaws, Unreadable
from veilbox.media.structure.window import MOST_AT_ONCE, Window


class Coding(StrEnum):
    """How a stream is coded and its units are told apart."""

    H264 = "avc"
    H264_ANNEX_B = "avc-annex-b"
    HEVC = "hevc"
    MPEG4 = "mpeg4"
    AV1 = "av1"
    VP9 = "vp9"


# Slices, parameter sets and delimiters; 6 is SEI, where encoders and cameras write what they like.
_H264_UNITS = frozenset({1, 5, 7, 8, 9})
# Slices, parameter sets and the delimiter; 39 and 40 are SEI, 41 and above reserved.
_HEVC_UNITS = frozenset({*range(10), *range(16, 22), 32, 33, 34, 35})
# Video objects, layers, sequences, groups and planes; 0xB2 is user data.
_MPEG4_CODES = frozenset({*range(0x30), 0xB0, 0xB1, 0xB3, 0xB5, 0xB6})
# Sequence header, delimiter, frame header, tile group, frame, redundant frame header, tile list; 5 is metadata, 15
# padding.
_AV1_UNITS = frozenset({1, 2, 3, 4, 6, 7, 8})
# Bytes in front of each unit; FFmpeg's and x264's muxing writes four.
_LENGTH = 4


def check_packet(coding: Coding | None, packet: Window, flaws: Flaws, *, length_bytes: int = _LENGTH) -> None:
    """Note every unit of a packet that is not allowed.

    Args:
        coding: None where nothing is known of the packet's insides.
        packet: One packet.
        flaws: Where to.
        length_bytes: Of the lengths in front of H.264's and HEVC's units.
    """
    if coding in (None, Coding.VP9) or len(packet) == 0:
        return
    if len(packet) > MOST_AT_ONCE:
        raise Unreadable(packet.path, "impossible length")
    content = packet.all()
    try:
        for kind, good in _units(coding, content, length_bytes):
            flaws.unless(good, packet.path, f"unit {kind}, which is not allowed")
    except Unreadable as error:
        flaws.add(packet.path, error.what)


def _units(coding: Coding | None, content: bytes, length_bytes: int) -> Iterator[tuple[int, bool]]:
    """Type of each unit, and whether it is allowed."""
    if coding is Coding.AV1:
        for kind in _open_units(content):
            yield kind, kind in _AV1_UNITS
        return
    prefixed = coding in (Coding.H264, Coding.HEVC)
    for head in _length_prefixed(content, length_bytes) if prefixed else start_codes(content):
        if coding is Coding.MPEG4:
            yield head, head in _MPEG4_CODES
        elif coding is Coding.HEVC:
            yield head >> 1 & 0x3F, head >> 1 & 0x3F in _HEVC_UNITS
        else:
            yield head & 0x1F, head & 0x1F in _H264_UNITS


def _length_prefixed(content: bytes, length_bytes: int) -> Iterator[int]:
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + length_bytes], "big")
        at += length_bytes
        if length == 0 or at + length > len(content):
            raise Unreadable("", "units of impossible length")
        yield content[at]
        at += length


def start_codes(content: bytes) -> Iterator[int]:
    """The byte behind each start code (three bytes 0, 0, 1); nothing may stand before the first but zeros."""
    at = content.find(b"\0\0\1")
    if at < 0 or any(content[:at]):
        raise Unreadable("", "bytes that are no unit")
    while at >= 0:
        if at + 3 >= len(content):
            raise Unreadable("", "units of impossible length")
        yield content[at + 3]
        at = content.find(b"\0\0\1", at + 3)


def _open_units(content: bytes) -> Iterator[int]:
    at = 0
    while at < len(content):
        head = content[at]
        at += 2 if head & 4 else 1
        if not head & 2:
            raise Unreadable("", "units without a length")
        length, at = _leb128(content, at)
        if head & 0x81 or at + length > len(content):
            raise Unreadable("", "units of impossible length")
        yield head >> 3 & 0xF
        at += length


def _leb128(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        if at + index >= len(content):
            break
        value |= (content[at + index] & 0x7F) << (7 * index)
        if not content[at + index] & 0x80:
            return value, at + index + 1
    raise Unreadable("", "units of impossible length")


def check_configuration(coding: Coding | None, body: Window, flaws: Flaws) -> int:
    """A decoder's set-up data: parameter sets and nothing else.

    Returns:
        Bytes of the lengths in front of the stream's units; 4 where they have none.

    Source: ISO/IEC 14496-15, clauses 5.3.3.1 (avcC) and 8.3.3.1 (hvcC); AV1 in ISOBMFF, clause 2.3.
    """
    content = body.read(0, len(body)) if len(body) <= 1 << 16 else b""
    if not content:
        raise Unreadable(body.path, "impossible length")
    if coding is Coding.H264:
        return _check_avc(content, body.path, flaws)
    if coding is Coding.HEVC:
        return _check_hevc(content, body.path, flaws)
    if coding is Coding.AV1:
        for kind in _open_units(content[4:]):
            flaws.unless(kind == 1, body.path, f"unit {kind}, which is not allowed")
    elif coding is Coding.MPEG4:
        for code in start_codes(content):
            flaws.unless(code in _MPEG4_CODES, body.path, f"unit {code}, which is not allowed")
    elif coding is Coding.VP9:
        flaws.unless(len(content) <= 16, body.path, "more than a configuration")
    return _LENGTH


def _check_avc(content: bytes, path: str, flaws: Flaws) -> int:
    reader = _Bytes(content, path)
    length_bytes = (reader.take(5)[4] & 3) + 1
    for kind, mask in ((7, 0x1F), (8, 0xFF)):
        for _ in range(reader.take(1)[0] & mask):
            unit = reader.take(int.from_bytes(reader.take(2), "big"))
            flaws.unless(bool(unit) and unit[0] & 0x1F == kind, path, "a unit that is no parameter set")
    rest = reader.rest()
    # High profiles add chroma format, two depths and a count of extensions.
    flaws.unless(len(rest) in (0, 4) and (not rest or rest[3] == 0), path, "trailing bytes")
    return length_bytes


def _check_hevc(content: bytes, path: str, flaws: Flaws) -> int:
    reader = _Bytes(content, path)
    length_bytes = (reader.take(22)[21] & 3) + 1
    for _ in range(reader.take(1)[0]):
        kind = reader.take(1)[0] & 0x3F
        flaws.unless(kind in (32, 33, 34), path, f"unit {kind}, which is not allowed")
        for _ in range(int.from_bytes(reader.take(2), "big")):
            reader.take(int.from_bytes(reader.take(2), "big"))
    flaws.unless(not reader.rest(), path, "trailing bytes")
    return length_bytes


class _Bytes:
    def __init__(self, content: bytes, path: str) -> None:
        self._content = content
        self._path = path
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._content[self._at : self._at + count]
        if len(taken) != count:
            raise Unreadable(self._path, "cut short")
        self._at += count
        return taken

    def rest(self) -> bytes:
        return self._content[self._at :]
