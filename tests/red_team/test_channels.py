"""How much an ingest that was taken over can send along: the threat model's table, from the bounds in the code."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import fields
from pathlib import Path

from veilbox.core.errors import _MAX_FIELD_CHARS
from veilbox.core.frame import MAX_SIDE, PIXEL_FORMATS
from veilbox.core.metadata import MOST_PROFILE
from veilbox.core.stream import Colour
from veilbox.transport import info, messages

PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"
_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def _bits(choices: int) -> int:
    return math.ceil(math.log2(choices))


def _of_a_frame() -> int:
    """Time and duration, as the message of a frame carries them; a duration is not negative."""
    assert messages._FRAME.format == "<BBqIIqqqI"
    return 2 * 8 * struct.calcsize("<q") - 1


# Channel: what stands in the table's column of bits.
CHANNELS = {
    "size, pixel format": f"{2 * _bits(MAX_SIDE) + _bits(len(PIXEL_FORMATS))} an item",
    "time base, frame rate, shape of a sample": f"{6 * _bits(info._MAX_RATIONAL + 1)} an item",
    "colour tags": f"{len(fields(Colour)) * _bits(info._MAX_CODE_POINT + 1)} an item",
    "rotation, subsampling, whether lossless": f"{_bits(4) + _bits(4) + _bits(2)} an item",
    "JPEG quantization tables": f"{info._JPEG_TABLES * info._JPEG_VALUES * _bits(info._JPEG_VALUE + 1):,} an item",
    "colour profile, if the policy keeps it": f"{8 * MOST_PROFILE:,} an item",
    "times and durations": f"{_of_a_frame()} a frame",
    "error texts": f"{4 * _MAX_FIELD_CHARS:,} characters an item",
}
IMPOSSIBLE = {
    "clean ring", "boxes", "output's descriptor", "output's name", "sockets",
    "devices and libraries that all containers have", "audit log",
}  # fmt: skip
UNBOUNDED = {
    "pixels outside the boxes",
    "coefficients of a JPEG picture outside the boxes",
    "audio packets, with `--keep audio`",
}


def _table() -> dict[str, str]:
    text = PAGE.read_text("utf-8")
    section = text[text.index("### What a hostile ingest can send along") :].split("\n## ")[0]
    return {name: bits for name, _, bits, _ in _ROW.findall(section) if name not in {"Channel", "---"}}


def test_the_threat_model_has_every_channel_with_the_bound_of_the_code() -> None:
    told = _table()
    assert {name: told.get(name) for name in CHANNELS} == CHANNELS
    assert {name for name, bits in told.items() if bits == "none"} == IMPOSSIBLE
    assert {name for name, bits in told.items() if bits == "unbounded"} == UNBOUNDED
    assert told.keys() == CHANNELS.keys() | IMPOSSIBLE | UNBOUNDED | {"rhythm of messages"}
