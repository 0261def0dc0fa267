"""The one door: a file's family chooses the parser."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from veilbox.core.errors import SourceUnsupported
from veilbox.media.sniff import Family, sniff
from veilbox.media.structure.bmp import examine_bmp
from veilbox.media.structure.flaws import Allowed, Flaw, Flaws, Unreadable
from veilbox.media.structure.isobmff import examine_isobmff
from veilbox.media.structure.jpeg import examine_jpeg
from veilbox.media.structure.matroska import examine_matroska
from veilbox.media.structure.png import examine_png
from veilbox.media.structure.riff import examine_avi, examine_webp
from veilbox.media.structure.tiff import examine_tiff
from veilbox.media.structure.window import Window

_PARSERS: dict[Family, Callable[[Window, Allowed, Flaws], None]] = {
    Family.ISO: examine_isobmff,
    Family.MATROSKA: examine_matroska,
    Family.AVI: examine_avi,
    Family.JPEG: examine_jpeg,
    Family.PNG: examine_png,
    Family.WEBP: examine_webp,
    Family.TIFF: examine_tiff,
    Family.BMP: examine_bmp,
}
# What a suffix promises.
_FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("mp4", "m4v", "mov"), Family.ISO),
    **dict.fromkeys(("mkv", "webm"), Family.MATROSKA),
    **dict.fromkeys(("jpg", "jpeg"), Family.JPEG),
    **dict.fromkeys(("tif", "tiff"), Family.TIFF),
    "avi": Family.AVI,
    "png": Family.PNG,
    "webp": Family.WEBP,
    "bmp": Family.BMP,
}


def examine(file: BinaryIO, suffix: str, allowed: Allowed) -> tuple[Flaw, ...]:
    """Hold every part of a file against the allow-list of its format.

    Args:
        file: Opened for reading in binary mode, seekable; its position is 0 afterwards.
        suffix: Of its name, lower case without dot: what it says it is.
        allowed: What may be in it besides pixels.

    Returns:
        What is wrong, in the order of the file; empty if nothing is.
    """
    flaws = Flaws()
    try:
        family = sniff(file)
        parser = _PARSERS.get(family)
        if parser is None or _FAMILIES.get(suffix) is not family:
            flaws.add("", "another format than its name says")
        else:
            parser(Window.whole(file), allowed, flaws)
    except Unreadable as error:
        flaws.add(error.path, error.what)
    except SourceUnsupported:
        flaws.add("", "another format than its name says")
    file.seek(0)
    return flaws.all
