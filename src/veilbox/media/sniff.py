"""What a file is, by its first bytes.

Only families that veilbox opens are named, so that no demuxer or decoder is ever tried on a file by guessing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import BinaryIO

from veilbox.core.errors import SourceUnsupported

_HEAD = 32
# ISO/IEC 14496-12 and QuickTime: the types with which a file of theirs starts.
_ISO_FIRST = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"})
# Brands of still pictures in the same container.
_STILL_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"})


class Family(StrEnum):
    """Files that are opened the same way; the values of pictures are Pillow's format names."""

    ISO = "iso"
    MATROSKA = "matroska"
    AVI = "avi"
    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"
    TIFF = "TIFF"
    BMP = "BMP"
    GIF = "GIF"


_MAGIC: tuple[tuple[bytes, Family], ...] = (
    (b"\x1a\x45\xdf\xa3", Family.MATROSKA),
    (b"\xff\xd8\xff", Family.JPEG),
    (b"\x89PNG\r\n\x1a\n", Family.PNG),
    (b"II*\0", Family.TIFF),
    (b"MM\0*", Family.TIFF),
    (b"II+\0", Family.TIFF),
    (b"MM\0+", Family.TIFF),
    (b"BM", Family.BMP),
    (b"GIF87a", Family.GIF),
    (b"GIF89a", Family.GIF),
)


def sniff(file: BinaryIO) -> Family:
    """The family of a file; its position is 0 afterwards.

    Raises:
        SourceUnsupported: The file is empty or of no family here.
    """
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    if not head:
        raise SourceUnsupported("the file is empty", advice="Check how it was copied here")
    family = _family(head)
    if family is None:
        raise SourceUnsupported(
            "no picture or film by its first bytes",
            expected="JPEG, PNG, WebP, TIFF, BMP, MP4, MOV, MKV, WebM or AVI",
            actual=_description(head),
            advice="Convert it to one of these",
        )
    return family


def _family(head: bytes) -> Family | None:
    for magic, family in _MAGIC:
        if head.startswith(magic):
            return family
    if head.startswith(b"RIFF"):
        return {b"AVI ": Family.AVI, b"WEBP": Family.WEBP}.get(head[8:12])
    if head[4:8] in _ISO_FIRST and head[8:12] not in _STILL_BRANDS:
        return Family.ISO
    return None


def _description(head: bytes) -> str:
    """A word about the bytes that gives none of them away."""
    if head[4:8] == b"ftyp":
        return "a HEIF or AVIF picture"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return "text"
    return "something else"
