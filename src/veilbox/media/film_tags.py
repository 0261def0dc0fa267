"""What films say about themselves: typed values out of a demuxer's words, a muxer's words out of typed values.

An MP4's or a MOV's words stand in one box, which has one form for the same values: a stranger can tell whether it holds
anything but such values, as with EXIF blocks. Films write times in UTC, and nothing finer than a second passes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from veilbox.core.metadata import TAGS, Metadata, NotOurs, Value

CREATED = "creation_time"
# Words that FFmpeg knows in files of several kinds; behind `com.apple.quicktime.` they are keys of QuickTime ("Metadata
# keys", QuickTime File Format), in upper case names of Matroska's tags.
WORDS: Mapping[str, str] = MappingProxyType(
    {
        "ImageDescription": "title",
        "Make": "make",
        "Model": "model",
        "Software": "software",
        "Artist": "artist",
        "Copyright": "copyright",
    }
)
_APPLE = "com.apple.quicktime."
_TIME, _ZONE, _UTC = "DateTimeOriginal", "OffsetTimeOriginal", "+00:00"
MOMENT_NAMES = (_TIME, _ZONE)
_EXIF_TIME, _WORD_TIME = "%Y:%m:%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.000000Z"
# FFmpeg takes what is before 1970 for no time; the fields of MP4 end in 2040.
_FIRST, _LAST = datetime(1971, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
# ISO/IEC 14496-12, 8.2.2.3, and RFC 9559, 5.1.2.7: what times are counted from.
ISO_ZERO, MATROSKA_ZERO = datetime(1904, 1, 1, tzinfo=UTC), datetime(2001, 1, 1, tzinfo=UTC)
# FFmpeg's form of them: a box `meta` with a handler `mdta` of no name, keys, and values of type 1, UTF-8.
_HANDLER = b"\0\0\0\x21hdlr" + bytes(8) + b"mdta" + bytes(13)
_TEXT = struct.pack(">II", 1, 0)


def values_of(words: Mapping[str, str]) -> tuple[tuple[str, Value], ...]:
    """The values of known words that a demuxer found, in the order of `TAGS`, less what is not as it should be."""
    lower = {name.lower(): text for name, text in words.items()}
    found = {name: lower.get(_APPLE + word, lower.get(word, "")).rstrip("\0 ") for name, word in WORDS.items()}
    values = {name: text for name, text in found.items() if TAGS[name].takes(text)}
    return _ordered(values | moment_values(_parsed_time(lower.get(CREATED, ""))))


def moment_values(moment: datetime | None) -> dict[str, str]:
    """The values of a time; empty for one that no film was taken at."""
    if moment is None or not _FIRST <= moment < _LAST:
        return {}
    return {_TIME: moment.strftime(_EXIF_TIME), _ZONE: _UTC}


def since(zero: datetime, seconds: int) -> dict[str, str]:
    """The values of a time that is counted from somewhere; empty for one that no film was taken at."""
    try:
        return moment_values(zero + timedelta(seconds=seconds))
    except OverflowError:
        return {}


def _parsed_time(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _ordered(values: Mapping[str, str]) -> tuple[tuple[str, Value], ...]:
    return tuple((name, values[name]) for name in TAGS if name in values)


def words_for(muxer: str, metadata: Metadata) -> dict[str, str]:
    """What FFmpeg's muxer is given, in the order in which it writes it; values that films do not hold are left out."""
    texts = {name: value for name, value in metadata.tags if isinstance(value, str)}
    time = _word_time(texts.get(_TIME, ""))
    created = {CREATED: time} if time else {}
    if muxer in ("mp4", "mov"):
        return created | {_APPLE + word: texts[name] for name, word in WORDS.items() if name in texts}
    # Matroska's title is an element, not a tag, and FFmpeg knows it by its own word only.
    named = {name: word if word == "title" else word.upper() for name, word in WORDS.items()}
    return created | {named[name]: texts[name] for name in WORDS if name in texts}


def _word_time(value: str) -> str:
    try:
        return datetime.strptime(value, _EXIF_TIME).replace(tzinfo=UTC).strftime(_WORD_TIME)
    except ValueError:  # a 31st of February: the pattern of a value knows no calendar
        return ""


def user_data(words: Mapping[str, str]) -> bytes:
    """The content of the box `udta` that FFmpeg makes of words, as `words_for` gives them."""
    keys = b"".join(_box(b"mdta", name.encode()) for name in words)
    texts = (_box(b"data", _TEXT + text.encode()) for text in words.values())
    items = b"".join(_box(struct.pack(">I", number), text) for number, text in enumerate(texts, 1))
    listed = _box(b"keys", struct.pack(">II", 0, len(words)) + keys)
    return _box(b"meta", bytes(4) + _HANDLER + listed + _box(b"ilst", items))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def parsed_user_data(content: bytes) -> tuple[tuple[str, Value], ...]:
    """The values of a box that `user_data` makes.

    Raises:
        NotOurs: It makes no such box.
    """
    try:
        keys, items = _keys_and_items(content)
        words = {key.decode(): item[16:].decode() for key, item in zip(keys, items, strict=True)}
    except (struct.error, ValueError) as error:
        raise NotOurs("not readable") from error
    values = values_of(words)
    if user_data(words_for("mp4", Metadata(tags=values))) != content:
        raise NotOurs("more than its values")
    return values


def _keys_and_items(content: bytes) -> tuple[list[bytes], list[bytes]]:
    ((_, meta),) = _boxes(content)
    parts = dict(_boxes(meta[4:]))
    keys = [key for _, key in _boxes(parts.get(b"keys", b"")[8:])]
    return keys, [item for _, item in _boxes(parts.get(b"ilst", b""))]


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        if not 8 <= length <= len(content) - at:
            raise NotOurs("a box of impossible length")
        yield content[at + 4 : at + 8], content[at + 8 : at + length]
        at += length
