"""BMP: two headers, a palette and the rows (Microsoft's BITMAPFILEHEADER and BITMAPINFOHEADER)."""

from __future__ import annotations

import struct

from veilbox.media.structure.flaws import Allowed, Flaws
from veilbox.media.structure.window import Window

_FILE_HEADER, _INFO_HEADER = 14, 40
_HEADERS = struct.Struct("<2sIIIIiiHHIIiiII")


def examine_bmp(file: Window, allowed: Allowed, flaws: Flaws) -> None:
    """Every byte is header, palette or row."""
    del allowed
    fields = _HEADERS.unpack(file.read(0, _HEADERS.size))
    _, size, reserved, offset, info, width, height, planes, bits, compression, _, _, _, colours, _ = fields
    palette = 4 * (colours or (1 << bits if bits <= 8 else 0))
    rows = -(-max(width, 0) * bits // 32) * 4 * abs(height)
    flaws.unless(info == _INFO_HEADER and planes == 1 and compression == 0, "header", "not allowed")
    flaws.unless(reserved == 0, "header", "reserved bytes that are not zero")
    flaws.unless(offset == _FILE_HEADER + _INFO_HEADER + palette, "palette", "bytes before the rows")
    flaws.unless(offset + rows == size, "rows", "impossible length")
    flaws.unless(len(file) == size, "after rows", "trailing bytes")
