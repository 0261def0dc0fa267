"""JPEG: markers and segments (ITU-T T.81, Annex B; JFIF is ITU-T T.871)."""

from __future__ import annotations

from veilbox.media.structure.flaws import Allowed, Flaws, Unreadable
from veilbox.media.structure.jumbf import Manifests
from veilbox.media.structure.told import check_exif, check_profile
from veilbox.media.structure.window import Window

_SOI, _EOI, _SOS, _COM, _APP0, _APP1, _APP2, _APP11 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0, 0xE1, 0xE2, 0xEB
# DQT, DHT, DRI, and the frame headers of baseline, extended and progressive Huffman coding.
_PLAIN = frozenset({0xDB, 0xC4, 0xDD, 0xC0, 0xC1, 0xC2})
# A profile in one part of one (ICC.1:2022, B.4), and an EXIF block (Exif 2.32, 4.7.2).
_ICC, _EXIF = b"ICC_PROFILE\0\1\1", b"Exif\0\0"
# The first and only packet of a JUMBF box: identifier, instance, sequence (ISO/IEC 19566-5, D.2; the library's number).
_JUMBF = b"JP\x02\x11\0\0\0\1"
# T.871, 10.1: identifier, version, units, densities, and a thumbnail of no columns and no rows.
_JFIF_LENGTH = 14
_SCAN_READ = 1 << 16


def examine_jpeg(file: Window, allowed: Allowed, flaws: Flaws) -> None:
    """Every segment up to the end of the image, and nothing behind it."""
    flaws.unless(file.read(0, 2) == b"\xff\xd8", "SOI", "missing")
    at, manifests, scans = 2, Manifests(allowed, flaws), 0
    while True:
        marker, at = _marker(file, at)
        flaws.part("segment")
        if marker == _EOI:
            break
        if marker == _APP11:
            body = _body(file, at, marker)
            manifests.take(body, before=_JUMBF, early=not scans)
            at += len(body) + 2
            continue
        at = _segment(file, at, marker, allowed, flaws)
        if marker == _SOS:
            scans += 1
            at = _behind_scan(file, at)
    manifests.finish()
    flaws.unless(at == len(file), "after EOI", "trailing bytes")


def _marker(file: Window, at: int) -> tuple[int, int]:
    head = file.read(at, 2)
    if head[0] != 0xFF or head[1] in (0x00, 0xFF):
        raise Unreadable("segment", "no marker where one must be")
    return head[1], at + 2


def _segment(file: Window, at: int, marker: int, allowed: Allowed, flaws: Flaws) -> int:
    body = _body(file, at, marker)
    if marker == _APP0:
        _check_jfif(body, flaws)
    elif marker == _APP2 and _begins(body, _ICC):
        check_profile(_behind(body, _ICC), allowed, flaws)
    elif marker == _APP1 and _begins(body, _EXIF):
        check_exif(_behind(body, _EXIF), allowed, flaws)
    elif marker not in _PLAIN and marker != _SOS:
        flaws.add(body.path, "not allowed")
    return at + len(body) + 2


def _body(file: Window, at: int, marker: int) -> Window:
    length = int.from_bytes(file.read(at, 2), "big")
    if length < 2:
        raise Unreadable(_name(marker), "impossible length")
    return file.part(at + 2, length - 2, _name(marker))


def _begins(body: Window, mark: bytes) -> bool:
    return len(body) >= len(mark) and body.read(0, len(mark)) == mark


def _behind(body: Window, mark: bytes) -> Window:
    return Window(body.file, body.start + len(mark), body.end, body.path)


def _check_jfif(body: Window, flaws: Flaws) -> None:
    content = body.all()
    good = len(content) == _JFIF_LENGTH and content[:5] == b"JFIF\0" and content[12:] == b"\0\0"
    flaws.unless(good, body.path, "more than a JFIF header")


def _behind_scan(file: Window, at: int) -> int:
    """The next marker that is no restart marker and no stuffed byte (T.81, B.1.1.5)."""
    while True:
        count = min(_SCAN_READ, len(file) - at)
        chunk = file.read(at, count) if count > 1 else b""
        if not chunk:
            raise Unreadable("SOS", "cut short")
        found = _first_marker(chunk)
        if found is not None:
            return at + found
        at += count - 1 if chunk[-1] == 0xFF else count


def _first_marker(chunk: bytes) -> int | None:
    position = chunk.find(b"\xff")
    while 0 <= position < len(chunk) - 1:
        if chunk[position + 1] != 0 and not 0xD0 <= chunk[position + 1] <= 0xD7:
            return position
        position = chunk.find(b"\xff", position + 1)
    return None


def _name(marker: int) -> str:
    if 0xE0 <= marker <= 0xEF:
        return f"APP{marker - 0xE0}"
    return {_COM: "COM", _SOS: "SOS", 0xDB: "DQT", 0xC4: "DHT", 0xDD: "DRI"}.get(marker, f"0xff{marker:02x}")
