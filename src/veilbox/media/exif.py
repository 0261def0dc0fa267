"""EXIF blocks: typed values out of what a decoder found, a block out of typed values, and back.

A block has one form for the same values: tags in order, values behind their directory in the same order, no byte that
belongs to nothing. So a stranger can tell whether a block holds anything but such values: it is not the block that its
values make.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import SupportsFloat, SupportsInt, cast

from PIL.Image import Exif

from veilbox.core.metadata import RATIONALS, TAGS, Directory, NotOurs, Tag, Value, ValueKind

# Directories that are reached by a tag of the first (Exif 2.32, 4.6.3).
_POINTERS = {0x8769: Directory.EXIF, 0x8825: Directory.GPS}
_NUMBERS = {directory: number for number, directory in _POINTERS.items()}
# Type numbers of TIFF 6.0, section 2, and the bytes of one value.
_TYPES = {
    ValueKind.TEXT: (2, 1),
    ValueKind.MOMENT: (2, 1),
    ValueKind.BYTE: (1, 1),
    ValueKind.SHORT: (3, 2),
    ValueKind.RATIONAL: (5, 8),
    ValueKind.SIGNED_RATIONAL: (10, 8),
}
_LETTERS = {ValueKind.BYTE: "B", ValueKind.SHORT: "H", ValueKind.RATIONAL: "I", ValueKind.SIGNED_RATIONAL: "i"}
_LONG = 4
_ENTRY = 12
_HEADER = b"II*\0\x08\0\0\0"
# A rational of a source is taken as the nearest fraction with at most this denominator: 1/8000 s and 1e-4 of an arc
# second are exact in it.
_FINEST = 1_000_000


def values_of(exif: Exif) -> tuple[tuple[str, Value], ...]:
    """The values of known tags that a decoder found; one that is not as its tag says is left out."""
    directories: dict[Directory, Mapping[int, object]] = {
        Directory.PICTURE: exif,
        Directory.EXIF: exif.get_ifd(_NUMBERS[Directory.EXIF]),
        Directory.GPS: exif.get_ifd(_NUMBERS[Directory.GPS]),
    }
    found = ((name, tag, directories[tag.directory].get(tag.number)) for name, tag in TAGS.items())
    typed = ((name, _typed(raw, tag)) for name, tag, raw in found if raw is not None)
    return tuple((name, value) for name, value in typed if value is not None)


def _typed(raw: object, tag: Tag) -> Value | None:
    try:
        value = _text(raw) if tag.kind in (ValueKind.TEXT, ValueKind.MOMENT) else _numbers(raw, tag)
        return value if tag.takes(value) else None
    except (TypeError, ValueError, ArithmeticError):
        return None


def _text(raw: object) -> str:
    """Pillow reads texts byte by byte (Latin-1); cameras write ASCII or UTF-8."""
    content = raw if isinstance(raw, bytes) else str(raw).encode("latin-1")
    return content.rstrip(b"\0 ").decode("utf-8")


def _numbers(raw: object, tag: Tag) -> tuple[int, ...]:
    if isinstance(raw, bytes):
        raw = tuple(raw)
    parts = raw if isinstance(raw, tuple) else (raw,)
    if tag.kind not in RATIONALS:
        return tuple(int(cast("SupportsInt", part)) for part in parts)
    fractions = [Fraction(float(cast("SupportsFloat", part))).limit_denominator(_FINEST) for part in parts]
    return tuple(number for one in fractions for number in (one.numerator, one.denominator))


def exif_block(values: Mapping[str, Value]) -> bytes:
    """The one EXIF block of these values, without the `Exif` marker of a JPEG segment; empty if there are none."""
    if not values:
        return b""
    by_directory: dict[Directory, dict[int, tuple[int, int, bytes]]] = {one: {} for one in Directory}
    for name, value in values.items():
        tag = TAGS[name]
        content = _content(value, tag)
        kind, size = _TYPES[tag.kind]
        by_directory[tag.directory][tag.number] = kind, len(content) // size, content
    first = by_directory[Directory.PICTURE]
    behind = [one for one in (Directory.EXIF, Directory.GPS) if by_directory[one]]
    for one in behind:  # their places are known once the size of the first directory is
        first[_NUMBERS[one]] = _LONG, 1, bytes(_LONG)
    at = len(_HEADER) + len(_directory(first, 0))
    blocks = []
    for one in behind:
        first[_NUMBERS[one]] = _LONG, 1, struct.pack("<I", at)
        blocks.append(_directory(by_directory[one], at))
        at += len(blocks[-1])
    return b"".join((_HEADER, _directory(first, len(_HEADER)), *blocks))


def _content(value: Value, tag: Tag) -> bytes:
    if isinstance(value, str):
        return value.encode() + b"\0"
    return struct.pack(f"<{len(value)}{_LETTERS[tag.kind]}", *value)


def _directory(entries: Mapping[int, tuple[int, int, bytes]], at: int) -> bytes:
    """One list of tags that begins at a place of the block, and its values behind it, at even places."""
    head, values = struct.pack("<H", len(entries)), b""
    behind = at + 2 + _ENTRY * len(entries) + 4
    for number, (kind, count, content) in sorted(entries.items()):
        inline = content.ljust(4, b"\0")
        if len(content) > 4:
            inline = struct.pack("<I", behind + len(values))
            values += content + bytes(len(content) % 2)
        head += struct.pack("<HHI", number, kind, count) + inline
    return head + bytes(4) + values


def parsed_block(block: bytes) -> dict[str, Value]:
    """The values of a block that `exif_block` made.

    Raises:
        NotOurs: It made no such block.
    """
    try:
        values = _parsed(block, len(_HEADER), Directory.PICTURE)
    except (struct.error, UnicodeDecodeError, KeyError, IndexError) as error:
        raise NotOurs("not readable") from error
    if exif_block(values) != block:
        raise NotOurs("more than its values")
    return values


def _parsed(block: bytes, at: int, directory: Directory) -> dict[str, Value]:
    names = {tag.number: name for name, tag in TAGS.items() if tag.directory is directory}
    values: dict[str, Value] = {}
    (count,) = struct.unpack_from("<H", block, at)
    for index in range(count):
        number, kind, length = struct.unpack_from("<HHI", block, at + 2 + _ENTRY * index)
        place = at + 2 + _ENTRY * index + 8
        if directory is Directory.PICTURE and number in _POINTERS:
            (inner,) = struct.unpack_from("<I", block, place)
            values |= _parsed(block, inner, _POINTERS[number])
            continue
        if number not in names:
            raise NotOurs(f"tag {number}")
        values[names[number]] = _value(block, place, kind, length, TAGS[names[number]])
    return values


def _value(block: bytes, place: int, kind: int, length: int, tag: Tag) -> Value:
    wanted, size = _TYPES[tag.kind]
    if kind != wanted or length > tag.count + 1:
        raise NotOurs(f"tag {tag.number}")
    if length * size > 4:
        (place,) = struct.unpack_from("<I", block, place)
    content = block[place : place + length * size]
    value: Value
    if tag.kind in _LETTERS:
        value = struct.unpack(f"<{length * (2 if tag.kind in RATIONALS else 1)}{_LETTERS[tag.kind]}", content)
    else:
        value = content.removesuffix(b"\0").decode()
    if not tag.takes(value):
        raise NotOurs(f"tag {tag.number}")
    return value
