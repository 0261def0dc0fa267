"""TIFF 6.0: one image file directory, its values and its strips; no byte is left over."""

from __future__ import annotations

import struct

from veilbox.core.metadata import TAGS, Directory, Tag, allowing
from veilbox.media.structure.flaws import Allowed, Flaws, Unreadable
from veilbox.media.structure.told import check_profile
from veilbox.media.structure.window import Window

_ENTRY = 12
# TIFF 6.0, section 8, and Predictor (14), ExtraSamples (18), SampleFormat (19): what pixels cannot be read without.
_TAGS = frozenset({256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 282, 283, 284, 296, 317, 338, 339, 266})
_ICC = 34675
_OFFSETS, _COUNTS = 273, 279
_ASCII = 2
# Texts that a file may say about itself.
_WORDS: dict[int, Tag] = {tag.number: tag for tag in TAGS.values() if tag.directory is Directory.PICTURE}
# Bytes of one value by type (section 2).
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_MOST_STRIPS = 1 << 20


def examine_tiff(file: Window, allowed: Allowed, flaws: Flaws) -> None:
    """Every tag, and every byte of the file."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(file.read(0, 4))
    if order is None:
        raise Unreadable("header", "not allowed")
    directory = _u32(file, 4, order)
    count = int.from_bytes(file.read(directory, 2), "little" if order == "<" else "big")
    used = [(0, 8), (directory, directory + 2 + _ENTRY * count + 4)]
    flaws.unless(_u32(file, directory + 2 + _ENTRY * count, order) == 0, "IFD1", "not allowed")
    strips: dict[int, tuple[int, ...]] = {}
    for index in range(count):
        _entry(file, directory + 2 + _ENTRY * index, order, allowed, flaws, used, strips)
    used += [(at, at + size) for at, size in zip(strips.get(_OFFSETS, ()), strips.get(_COUNTS, ()), strict=False)]
    _check_all_used(file, used, flaws)


def _u32(file: Window, at: int, order: str) -> int:
    (value,) = struct.unpack(f"{order}I", file.read(at, 4))
    return int(value)


def _entry(
    file: Window,
    at: int,
    order: str,
    allowed: Allowed,
    flaws: Flaws,
    used: list[tuple[int, int]],
    strips: dict[int, tuple[int, ...]],
) -> None:
    tag, kind, count, _ = struct.unpack(f"{order}HHII", file.read(at, _ENTRY))
    flaws.part("tag")
    size = _SIZES.get(kind, 0) * count
    start = at + 8
    if size > 4:
        start = _u32(file, at + 8, order)
        file.part(start, size, f"tag {tag}")
        used.append((start, start + size))
    _check_value(tag, kind, file.part(start, size, f"tag {tag}"), allowed, flaws)
    if tag in (_OFFSETS, _COUNTS):
        if count > _MOST_STRIPS or kind not in (3, 4):
            raise Unreadable(f"tag {tag}", "impossible length")
        letter = "H" if kind == 3 else "I"
        strips[tag] = struct.unpack(f"{order}{count}{letter}", file.read(start, size))


def _check_value(tag: int, kind: int, value: Window, allowed: Allowed, flaws: Flaws) -> None:
    if tag == _ICC:
        check_profile(value, allowed, flaws)
    elif tag in _WORDS and allowing(_WORDS[tag], allowed.metadata) is not None:
        flaws.unless(_is_word(kind, value, _WORDS[tag]), value.path, "more than a text")
    else:
        flaws.unless(tag in _TAGS, value.path, "not allowed")


def _is_word(kind: int, value: Window, tag: Tag) -> bool:
    content = value.all() if kind == _ASCII and len(value) <= tag.count + 1 else b""
    try:
        return content.endswith(b"\0") and tag.takes(content[:-1].decode())
    except UnicodeDecodeError:
        return False


def _check_all_used(file: Window, used: list[tuple[int, int]], flaws: Flaws) -> None:
    """A byte between parts pads to an even place (section 2, "Bytes"); more is something else."""
    end = 0
    for start, stop in sorted(used):
        flaws.unless(start - end <= 1, "between parts", "bytes that belong to nothing")
        end = max(end, stop)
    flaws.unless(len(file) - end <= 1, "after the last part", "trailing bytes")
    flaws.unless(end <= len(file), "after the last part", "cut short")
