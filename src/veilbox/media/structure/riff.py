"""RIFF: WebP (Google's WebP container specification) and AVI (Microsoft's, with OpenDML's index)."""

from __future__ import annotations

from collections.abc import Iterator

from veilbox.media.structure.bitstream import Coding, check_packet
from veilbox.media.structure.flaws import Allowed, Flaws, named
from veilbox.media.structure.jumbf import Manifests
from veilbox.media.structure.told import check_exif, check_profile
from veilbox.media.structure.window import Window

_WEBP = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH"})
# VP8X flags: only these bits may be set.
_ALPHA, _PROFILE, _EXIF = 0x10, 0x20, 0x08
# What FFmpeg leaves free for an index that a long film needs, besides zeros.
_INDEX_ROOM = 4, 16
_CODINGS = {b"H264": Coding.H264_ANNEX_B, b"FMP4": Coding.MPEG4}
# A stream's header (AVISTREAMHEADER) and format (BITMAPINFOHEADER).
_BITMAP_HEADER = 40
_MOST_FORMAT = 1024


def _chunks(window: Window, at: int, flaws: Flaws) -> Iterator[tuple[bytes, Window]]:
    while at < len(window):
        head = window.read(at, 8)
        length = int.from_bytes(head[4:], "little")
        body = window.part(at + 8, length, named(head[:4]))
        flaws.part(body.path)
        yield head[:4], body
        at += 8 + length
        if length % 2:
            flaws.unless(window.read(at, 1) == b"\0", body.path, "padding that is not zero")
            at += 1


def _riffs(file: Window, form: bytes, further: bytes, flaws: Flaws) -> Iterator[Window]:
    """The RIFF chunks that a file is made of; every byte is in one."""
    at = 0
    while at < len(file):
        head = file.read(at, 8) if len(file) - at >= 8 else b""
        if head[:4] != b"RIFF":
            flaws.add("after RIFF", "trailing bytes")
            return
        length = int.from_bytes(head[4:], "little")
        riff = file.part(at + 8, length, "RIFF")
        flaws.unless(riff.read(0, 4) == (form if at == 0 else further), "RIFF", "unknown form")
        yield riff
        at += 8 + length + length % 2


def examine_webp(file: Window, allowed: Allowed, flaws: Flaws) -> None:
    """Every chunk of the one RIFF chunk."""
    manifests = Manifests(allowed, flaws)
    for number, riff in enumerate(_riffs(file, b"WEBP", b"", flaws)):
        flaws.unless(number == 0, "RIFF", "not allowed")
        for kind, body in _chunks(riff, 4, flaws):
            if kind == b"ICCP":
                check_profile(body, allowed, flaws)
            elif kind == b"EXIF":
                check_exif(body, allowed, flaws)
            elif kind == b"C2PA":
                manifests.take(body)
            else:
                flaws.unless(kind in _WEBP, body.path, "not allowed")
            if kind == b"VP8X":
                permitted = _ALPHA | _PROFILE * allowed.profile | _EXIF * allowed.exif
                flaws.unless(body.read(0, 10)[0] & ~permitted == 0, body.path, "flags")
    manifests.finish()


def examine_avi(file: Window, allowed: Allowed, flaws: Flaws) -> None:
    """Every list and chunk, and the packets of the video stream."""
    film = _Avi(allowed, flaws)
    for riff in _riffs(file, b"AVI ", b"AVIX", flaws):
        for kind, body in _chunks(riff, 4, flaws):
            film.top(kind, body)


class _Avi:
    def __init__(self, allowed: Allowed, flaws: Flaws) -> None:
        self._allowed = allowed
        self._flaws = flaws
        self._streams: list[Coding | None] = []

    def top(self, kind: bytes, body: Window) -> None:
        if kind == b"LIST":
            form = body.read(0, 4)
            {b"hdrl": self._header, b"movi": self._movie}.get(form, self._refuse_list)(body)
        elif kind == b"JUNK":
            self._flaws.unless(body.is_zero(), body.path, "padding that is not zero")
        else:
            self._flaws.unless(kind == b"idx1", body.path, "not allowed")

    def _refuse_list(self, body: Window) -> None:
        self._flaws.add(f"{body.path}/{named(body.read(0, 4))}", "not allowed")

    def _header(self, body: Window) -> None:
        for kind, part in _chunks(body, 4, self._flaws):
            if kind == b"LIST" and part.read(0, 4) == b"strl":
                self._stream(part)
            elif kind == b"LIST" and part.read(0, 4) == b"odml":
                for inner, _ in _chunks(part, 4, self._flaws):
                    self._flaws.unless(inner == b"dmlh", part.path, "not allowed")
            elif kind == b"JUNK":
                self._check_room(part)
            else:
                self._flaws.unless(kind == b"avih" and len(part) == 56, part.path, "not allowed")

    def _check_room(self, part: Window) -> None:
        """Zeros, or an index that was never needed: FFmpeg writes its head first, and names it JUNK at the end."""
        head = part.read(0, min(len(part), 24))
        if head[:8] == b"odmldmlh":
            good = len(head) < 12 or part.part(16, len(part) - 16, "dmlh").is_zero()
        elif len(head) == 24 and head[0] == _INDEX_ROOM[0] and len(self._streams) <= 16:
            good = head[8:10].isdigit() and part.part(24, len(part) - 24, "indx").is_zero() and not any(head[1:8])
        else:
            good = part.is_zero()
        self._flaws.unless(good, part.path, "padding that is not zero")

    def _stream(self, body: Window) -> None:
        kind, coding = b"", b""
        for name, part in _chunks(body, 4, self._flaws):
            if name == b"strh":
                self._flaws.unless(len(part) == 56, part.path, "impossible length")
                kind, coding = part.read(0, 4), part.read(4, 4)
            elif name == b"strf":
                most = _BITMAP_HEADER if kind == b"vids" else 64
                self._flaws.unless(len(part) <= most, part.path, "more than a format")
            elif name == b"JUNK":
                self._check_room(part)
            else:
                known = (name == b"vprp" and len(part) <= 128) or (name == b"indx" and len(part) <= 1 << 16)
                self._flaws.unless(known, part.path, "not allowed")
        self._check_kind(kind, coding, body)

    def _check_kind(self, kind: bytes, coding: bytes, body: Window) -> None:
        first = not self._streams
        good = (kind == b"vids" and first) or (kind == b"auds" and len(self._streams) == 1 and self._allowed.audio)
        self._flaws.unless(good, f"{body.path}/{named(kind)}", "not allowed")
        if kind == b"vids":
            self._flaws.unless(coding in _CODINGS, f"{body.path}/{named(coding)}", "not allowed")
        self._streams.append(_CODINGS.get(coding) if kind == b"vids" else None)

    def _movie(self, body: Window) -> None:
        for kind, part in _chunks(body, 4, self._flaws):
            if kind == b"LIST" and part.read(0, 4) == b"rec ":
                self._flaws.add(part.path, "not allowed")
            elif kind[:2] == b"ix" and kind[2:].isdigit():
                continue
            else:
                self._packet(kind, part)

    def _packet(self, kind: bytes, part: Window) -> None:
        number = int(kind[:2]) if kind[:2].isdigit() else -1
        known = 0 <= number < len(self._streams) and kind[2:] in (b"dc", b"wb")
        if not known:
            self._flaws.add(part.path, "not allowed")
        elif self._streams[number] is not None:
            check_packet(self._streams[number], part, self._flaws)
