"""Whether a film's file holds every byte that its own structure declares.

A file that was cut short would otherwise come out as a shorter film without a word. Sizes of boxes, chunks and
elements are compared with the bytes that are there; durations and frame counts in headers are not, because they are
often wrong in files that are complete (bytes declared but absent: cut short; seconds declared but absent: a lie).

Sources: ISO/IEC 14496-12 (boxes), Microsoft's RIFF and OpenDML AVI (chunks), RFC 8794 and RFC 9559 (EBML, Matroska).
"""

from __future__ import annotations

import os
from typing import BinaryIO, NoReturn

from veilbox.core.errors import SourceCorrupt
from veilbox.core.frozen import frozen
from veilbox.media.sniff import Family

# Types of top-level boxes; others at the top are taken for junk that some writers leave behind the last box.
_ISO_BOXES = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx", b"ssix", b"prft"}
    | {b"mfra", b"uuid", b"meta", b"udta", b"emsg"}
)

_EBML = 0x1A45DFA3
_SEGMENT = 0x18538067
_CLUSTER = 0x1F43B675
# SeekHead, Info, Tracks, Cues, Chapters, Attachments, Tags, Void, CRC-32
_LEVEL_1 = frozenset(
    {_CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1043A770, 0x1941A469, 0x1254C367, 0xEC, 0xBF}
)
# Timestamp, SilentTracks, Position, PrevSize, SimpleBlock, BlockGroup, EncryptedBlock, Void, CRC-32
_IN_CLUSTER = frozenset({0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, 0xEC, 0xBF})


def check_complete(file: BinaryIO, family: Family) -> None:
    """Walk the outer structure of a film's file; its position is 0 afterwards.

    Raises:
        SourceCorrupt: A part reaches beyond the end of the file, or is followed by what is no part.
    """
    size = file.seek(0, os.SEEK_END)
    walks = {Family.ISO: _walk_iso, Family.AVI: _walk_riff, Family.MATROSKA: _walk_matroska}
    walks[family](file, size)
    file.seek(0)


def _cut_short(declared: int, size: int) -> NoReturn:
    raise SourceCorrupt(
        "the film is cut short",
        expected=f"at least {declared} bytes",
        actual=f"{size} bytes",
        advice="Copy the file again, or repair it first if what is left is wanted",
    )


def _read(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _walk_iso(file: BinaryIO, size: int) -> None:
    position, found = 0, set()
    while position + 8 <= size:
        header = _read(file, position, 16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if kind not in _ISO_BOXES:
            break
        found.add(kind)
        if length == 0:  # to the end of the file
            return
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8:
            raise SourceCorrupt("a box has an impossible size", actual=f"{length} bytes at byte {position}")
        position += length
        if position > size:
            _cut_short(position, size)
    if b"moov" not in found:
        raise SourceCorrupt(
            "the film has no index (no moov box)",
            actual=f"{size} bytes",
            advice="Recording or copying did not finish; repair the file or copy it again",
        )


def _walk_riff(file: BinaryIO, size: int) -> None:
    position = 0
    while position + 12 <= size:
        header = _read(file, position, 12)
        if header[:4] != b"RIFF":
            break
        length = int.from_bytes(header[4:8], "little")
        if length in (0, 0xFFFFFFFF):  # written to a pipe, never filled in
            return
        position += 8 + length + length % 2
        # The padding byte after an odd chunk is often left out at the end of a file.
        if position - length % 2 > size:
            _cut_short(position, size)


@frozen(kw_only=False)
class _Element:
    identifier: int
    start: int
    end: int | None
    """None: unknown, it lasts until something that cannot be inside."""


def _element(file: BinaryIO, position: int) -> _Element | None:
    header = _read(file, position, 12)
    if not header:
        return None
    id_length = 9 - header[0].bit_length()
    if id_length > 4 or len(header) <= id_length:
        return None
    size_length = 9 - header[id_length].bit_length()
    start = id_length + size_length
    if size_length > 8 or len(header) < start:
        return None
    mask = (1 << 7 * size_length) - 1
    length = int.from_bytes(header[id_length:start], "big") & mask
    end = None if length == mask else position + start + length
    return _Element(int.from_bytes(header[:id_length], "big"), position + start, end)


def _walk_matroska(file: BinaryIO, size: int) -> None:
    position, clusters = 0, 0
    while position < size:
        element = _element(file, position)
        if element is None or element.identifier not in _LEVEL_1 | _IN_CLUSTER | {_EBML, _SEGMENT}:
            _broken(position, size, clusters)
        if element.end is not None and element.end > size:
            _cut_short(element.end, size)
        clusters += element.identifier == _CLUSTER
        inside = element.identifier in (_SEGMENT, _CLUSTER)
        position = element.start if inside or element.end is None else element.end


def _broken(position: int, size: int, clusters: int) -> NoReturn:
    raise SourceCorrupt(
        "the film's structure is broken",
        expected="a Matroska element",
        actual=f"something else at byte {position} of {size}, after {clusters} clusters",
        advice="Copy the file again, or repair it first if what is left is wanted",
    )
