"""Matroska and WebM: elements (RFC 8794, RFC 9559)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from veilbox.core.metadata import MOST_TEXT, TAGS
from veilbox.media.film_tags import MATROSKA_ZERO, WORDS, since
from veilbox.media.structure.bitstream import Coding, check_configuration, check_packet
from veilbox.media.structure.flaws import Allowed, Flaws, Unreadable
from veilbox.media.structure.told import check_values
from veilbox.media.structure.window import Window

_VOID, _CRC = 0xEC, 0xBF
# Master elements: name, and what may be in them.
_TREE: dict[int, tuple[str, frozenset[int]]] = {
    0: ("", frozenset({0x1A45DFA3, 0x18538067})),
    0x1A45DFA3: ("EBML", frozenset({0x4286, 0x42F7, 0x42F2, 0x42F3, 0x4282, 0x4287, 0x4285})),
    0x18538067: (
        "Segment",
        frozenset({0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1254C367, 0x1F43B675, 0x1C53BB6B}),
    ),
    0x114D9B74: ("SeekHead", frozenset({0x4DBB})),
    0x4DBB: ("Seek", frozenset({0x53AB, 0x53AC})),
    0x1549A966: ("Info", frozenset({0x2AD7B1, 0x4D80, 0x5741, 0x4489, 0x7BA9, 0x4461})),
    0x1654AE6B: ("Tracks", frozenset({0xAE})),
    0xAE: (
        "TrackEntry",
        frozenset(
            {0xD7, 0x73C5, 0x83, 0x9C, 0x88, 0x22B59C, 0x86, 0x63A2, 0x23E383, 0x55EE, 0x56AA, 0x56BB, 0xE0, 0xE1}
        ),
    ),
    0xE0: (
        "Video",
        frozenset(
            {0xB0, 0xBA, 0x54B0, 0x54BA, 0x54B2, 0x54AA, 0x54BB, 0x54CC, 0x54DD, 0x9A, 0x9D, 0x53C0, 0x55B0, 0x7670}
        ),
    ),
    0x55B0: (
        "Colour",
        frozenset({0x55B1, 0x55B2, 0x55B3, 0x55B4, 0x55B5, 0x55B6, 0x55B7, 0x55B8, 0x55B9, 0x55BA, 0x55BB}),
    ),
    0x7670: ("Projection", frozenset({0x7671, 0x7673, 0x7674, 0x7675})),
    0xE1: ("Audio", frozenset({0xB5, 0x78B5, 0x9F, 0x6264, 0x52F1})),
    0x1254C367: ("Tags", frozenset({0x7373})),
    0x7373: ("Tag", frozenset({0x63C0, 0x67C8})),
    0x63C0: ("Targets", frozenset({0x63C5, 0x68CA})),
    0x67C8: ("SimpleTag", frozenset({0x45A3, 0x4487, 0x447A, 0x4484})),
    0x1F43B675: ("Cluster", frozenset({0xE7, 0xA3, 0xA0, 0xA7, 0xAB})),
    0xA0: ("BlockGroup", frozenset({0xA1, 0x9B, 0xFB, 0x75A2, 0xFA})),
    0x1C53BB6B: ("Cues", frozenset({0xBB})),
    0xBB: ("CuePoint", frozenset({0xB3, 0xB7})),
    0xB7: ("CueTrackPositions", frozenset({0xF7, 0xF1, 0xF0, 0xB2, 0x5378})),
}
_NAMES = {
    0x1043A770: "Chapters",
    0x1941A469: "Attachments",
    0x7BA9: "Title",
    0x4461: "DateUTC",
    0x73A4: "SegmentUUID",
    0x7384: "SegmentFilename",
    0x536E: "Name",
    0x6D80: "ContentEncodings",
    0x75A1: "BlockAdditions",
}
_MUXER, _WRITER, _TAG_NAME, _TAG_TEXT = 0x4D80, 0x5741, 0x45A3, 0x4487
_BLOCK, _SIMPLE_BLOCK, _CODEC, _PRIVATE, _TYPE, _NUMBER = 0xA1, 0xA3, 0x86, 0x63A2, 0x83, 0xD7
_LANGUAGE, _DOCTYPE = 0x22B59C, 0x4282
_TITLE, _DATE, _TAG, _SIMPLE_TAG, _TAG_TRACK = 0x7BA9, 0x4461, 0x7373, 0x67C8, 0x63C5
# Names of tags to those of values; the title is an element of its own.
_TAG_VALUES = {word.upper().encode(): name for name, word in WORDS.items() if word != "title"}
_TITLE_VALUE = "ImageDescription"
_TEXTS = frozenset({_TAG_TEXT, _TITLE})
_VIDEO, _AUDIO = 1, 2
_CODINGS = {
    b"V_MPEG4/ISO/AVC": Coding.H264,
    b"V_MPEGH/ISO/HEVC": Coding.HEVC,
    b"V_AV1": Coding.AV1,
    b"V_VP9": Coding.VP9,
    b"V_MPEG4/ISO/ASP": Coding.MPEG4,
}
# Vorbis sends its code books as set-up data; the largest in use are a few kilobytes.
_MOST_SETUP = 1 << 16
# A number, a date of no meaning or a short word.
_MOST_LEAF = 64
_MOST_DEPTH = 8


def examine_matroska(file: Window, allowed: Allowed, flaws: Flaws) -> None:
    """Every element, and every block of the video track."""
    _Matroska(file, allowed, flaws).run()


class _Track:
    def __init__(self) -> None:
        self.number = 0
        self.kind = 0
        self.coding: Coding | None = None
        self.setup: Window | None = None
        self.length_bytes = 4


class _Matroska:
    def __init__(self, file: Window, allowed: Allowed, flaws: Flaws) -> None:
        self._file = file
        self._allowed = allowed
        self._flaws = flaws
        self._tracks: list[_Track] = []
        self._by_number: dict[int, _Track] = {}
        self._tag = b""
        self._tag_of_track = False
        self._told: set[str] = set()

    def run(self) -> None:
        self._walk(0, self._file, 0)
        kinds = [track.kind for track in self._tracks]
        permitted = [[_VIDEO], *([[_VIDEO, _AUDIO]] if self._allowed.audio else [])]
        self._flaws.unless(kinds in permitted, "Segment/Tracks", f"tracks of types {kinds}"[:60])

    def _walk(self, identity: int, window: Window, depth: int) -> None:
        if depth > _MOST_DEPTH:
            raise Unreadable(window.path, "nested too deep")
        permitted = _TREE[identity][1]
        for inner, body in self._elements(window):
            if inner == _VOID:
                self._flaws.unless(body.is_zero(), body.path, "padding that is not zero")
            elif inner == _CRC and identity:
                self._flaws.unless(len(body) == 4, body.path, "impossible length")
            elif inner not in permitted:
                self._flaws.add(body.path, "not allowed")
            elif inner in _TREE:
                self._master(inner, body, depth)
            else:
                self._leaf(inner, body)

    def _master(self, identity: int, body: Window, depth: int) -> None:
        if identity == 0xAE:
            self._tracks.append(_Track())
        elif identity == _SIMPLE_TAG:
            self._tag = b""
        elif identity == _TAG:
            self._tag_of_track = False
        told = len(self._told)
        self._walk(identity, body, depth + 1)
        if identity == _TAG and self._tag_of_track:
            self._flaws.unless(len(self._told) == told, body.path, "a track's words")
        if identity == 0xAE:
            self._settle(self._tracks[-1])

    def _settle(self, track: _Track) -> None:
        if track.kind == _VIDEO:
            self._flaws.unless(track.coding is not None, "Segment/Tracks/TrackEntry/CodecID", "not allowed")
            if track.setup is not None and track.coding is not None:
                track.length_bytes = check_configuration(track.coding, track.setup, self._flaws)
        self._by_number[track.number] = track

    def _elements(self, window: Window) -> Iterator[tuple[int, Window]]:
        at = 0
        while at < len(window):
            identity, at = _number(window, at, keep=True)
            length, at = _number(window, at, keep=False)
            name = _TREE[identity][0] if identity in _TREE else _NAMES.get(identity, f"0x{identity:X}")
            body = window.part(at, length, name)
            self._flaws.part(body.path)
            yield identity, body
            at += length

    def _leaf(self, identity: int, body: Window) -> None:
        if identity in (_BLOCK, _SIMPLE_BLOCK):
            self._block(body)
            return
        if identity == _PRIVATE:
            self._flaws.unless(len(body) <= _MOST_SETUP, body.path, "impossible length")
            self._tracks[-1].setup = body
            return
        if len(body) > (MOST_TEXT if identity in _TEXTS else _MOST_LEAF):
            self._flaws.add(body.path, "impossible length")
            return
        if identity in (_DATE, _TITLE):
            self._value(identity, body)
        elif identity in (_TAG_NAME, _TAG_TEXT, _TAG_TRACK):
            self._tag_part(identity, body)
        else:
            self._word(identity, body.all().rstrip(b"\0"), body.path)

    def _word(self, identity: int, content: bytes, path: str) -> None:
        if identity in (_MUXER, _WRITER):
            self._flaws.unless(content == b"Lavf", path, "a program's name")
        elif identity == _LANGUAGE:
            self._flaws.unless(content in (b"und", b"eng"), path, "a language")
        elif identity == _DOCTYPE:
            self._flaws.unless(content in (b"matroska", b"webm"), path, "not allowed")
        elif self._tracks and identity == _NUMBER:
            self._tracks[-1].number = int.from_bytes(content, "big")
        elif self._tracks and identity == _TYPE:
            self._tracks[-1].kind = int.from_bytes(content, "big")
        elif self._tracks and identity == _CODEC:
            self._tracks[-1].coding = _CODINGS.get(content)
        elif len(content) > 8:
            self._flaws.add(path, "impossible length")

    def _tag_part(self, identity: int, body: Window) -> None:
        """A tag is a duration of digits, or a value that may stay and is about the file."""
        content = body.all().rstrip(b"\0")
        if identity == _TAG_TRACK:
            self._flaws.unless(len(content) <= 8, body.path, "impossible length")
            self._tag_of_track = True
        elif identity == _TAG_NAME:
            known = content == b"DURATION" or (self._allowed.exif and content in _TAG_VALUES)
            self._flaws.unless(known and not self._tag, body.path, "not allowed")
            self._tag = content
        elif self._tag in _TAG_VALUES:
            self._text(_TAG_VALUES[self._tag], body)
        else:
            self._flaws.unless(not content.strip(b"0123456789:."), body.path, "a text")

    def _value(self, identity: int, body: Window) -> None:
        if not self._allowed.exif:
            self._flaws.add(body.path, "not allowed")
            return
        if identity == _TITLE:
            self._text(_TITLE_VALUE, body)
            return
        seconds, rest = divmod(int.from_bytes(body.all(), "big", signed=True), 1_000_000_000)
        values = since(MATROSKA_ZERO, seconds)
        self._flaws.unless(len(body) == 8 and not rest and bool(values), body.path, "a date")
        self._allow(values, body.path)

    def _text(self, name: str, body: Window) -> None:
        text = body.all().decode("utf-8", "replace")
        good = text.encode() == body.all() and TAGS[name].takes(text)
        self._flaws.unless(good, body.path, "a text that is no such value")
        self._allow({name: text}, body.path)

    def _allow(self, values: Mapping[str, str], path: str) -> None:
        """Each value once, and only of the allowed fields."""
        check_values(values.items(), path, self._allowed, self._flaws)
        self._flaws.unless(self._told.isdisjoint(values), path, "said twice")
        self._told.update(values)

    def _block(self, body: Window) -> None:
        number, at = _number(body, 0, keep=False)
        flags = body.read(at, 3)[2]
        track = self._by_number.get(number)
        if track is None:
            self._flaws.add(body.path, "a block of no track")
            return
        self._flaws.unless(flags & 0x06 == 0, body.path, "laced")
        payload = Window(body.file, body.start + at + 3, body.end, body.path)
        if track.kind == _VIDEO:
            check_packet(track.coding, payload, self._flaws, length_bytes=track.length_bytes)


def _number(window: Window, at: int, *, keep: bool) -> tuple[int, int]:
    """A variable-size integer (RFC 8794, clause 4), with its marker if `keep`; and where it ends."""
    first = window.read(at, 1)[0]
    length = 9 - first.bit_length()
    if length > (4 if keep else 8):
        raise Unreadable(window.path, "not an element")
    content = window.read(at, length)
    value = int.from_bytes(content, "big")
    if keep:
        return value, at + length
    value &= (1 << (7 * length)) - 1
    if value == (1 << (7 * length)) - 1:
        raise Unreadable(window.path, "an element without a length")
    return value, at + length
