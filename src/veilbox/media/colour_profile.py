"""ICC profiles, made anew of the parts that change colours.

A profile can carry more than colours: the maker, model and serial number of a camera or screen, dates, free texts, and
tags of anybody's own. Kept are the numbers that a reader computes colours with; header fields that name a device or a
date become zero, and the texts that the format asks for become one fixed word.

Source: ICC.1:2022 (profile version 4.4): header 7.2, tag table 7.3, required tags 8.2 to 8.4.
"""

from __future__ import annotations

import struct

from veilbox.core.metadata import MOST_PROFILE

_HEADER = 128
_SIGNATURE = b"acsp"
_MOST_TAGS = 100
# Header fields that colours do not need: preferred module, date, platform, manufacturer, model, creator, id, reserved.
_CLEARED = ((4, 8), (24, 36), (40, 44), (48, 56), (80, 84), (84, 100), (100, 128))
# White point, primaries and curves, tables of input, screen and colour space profiles, adaptation.
_KEPT = frozenset(
    {b"wtpt", b"bkpt", b"chad", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC"}
    | {b"A2B0", b"A2B1", b"A2B2", b"B2A0", b"B2A1", b"B2A2", b"cicp", b"chrm"}
)
_TYPES = frozenset({b"XYZ ", b"curv", b"para", b"sf32", b"mft1", b"mft2", b"mAB ", b"mBA ", b"cicp", b"chrm"})
_CLASSES = frozenset({b"scnr", b"mntr", b"spac"})
_TEXT = "veilbox"


def rebuilt_profile(profile: bytes, space: str) -> bytes:
    """The same colours and nothing else.

    Args:
        profile: A source's ICC profile.
        space: The samples' colour space, `RGB` or `GRAY`.

    Returns:
        Empty if the profile is broken, too large, or of another space: then it would not show the right colours.
    """
    try:
        tags = _tags(profile, space)
    except (struct.error, IndexError):
        return b""
    if not tags:
        return b""
    made = _assembled(profile[:_HEADER], tags)
    return made if len(made) <= MOST_PROFILE else b""


def _tags(profile: bytes, space: str) -> dict[bytes, bytes]:
    good = len(profile) > _HEADER and profile[36:40] == _SIGNATURE and profile[12:16] in _CLASSES
    if not good or profile[16:20] != space.ljust(4).encode():
        return {}
    (count,) = struct.unpack_from(">I", profile, _HEADER)
    if count > _MOST_TAGS:
        return {}
    tags: dict[bytes, bytes] = {}
    for index in range(count):
        name, at, size = struct.unpack_from(">4sII", profile, _HEADER + 4 + 12 * index)
        content = profile[at : at + size]
        if name in _KEPT and len(content) == size and content[:4] in _TYPES:
            tags[name] = content
    return tags


def _assembled(header: bytes, tags: dict[bytes, bytes]) -> bytes:
    modern = header[8] >= 4
    whole = {**tags, b"desc": _described(modern=modern), b"cprt": _copyright(modern=modern)}
    table, body = struct.pack(">I", len(whole)), b""
    start = _HEADER + 4 + 12 * len(whole)
    places: dict[bytes, int] = {}
    for name, content in sorted(whole.items()):
        if content not in places:  # three curves are often one
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, places[content], len(content))
    cleared = bytearray(header)
    for first, last in _CLEARED:
        cleared[first:last] = bytes(last - first)
    cleared[:4] = struct.pack(">I", start + len(body))
    return bytes(cleared) + table + body


def _described(*, modern: bool) -> bytes:
    """`multiLocalizedUnicodeType` (10.15), before version 4 `textDescriptionType` (ICC.1:2001, 6.5.17)."""
    if modern:
        return _localized()
    text = _TEXT.encode() + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)


def _copyright(*, modern: bool) -> bytes:
    return _localized() if modern else b"text" + bytes(4) + _TEXT.encode() + b"\0"


def _localized() -> bytes:
    text = _TEXT.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
