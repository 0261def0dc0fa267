"""Coefficients of JPEG files: read as libjpeg's own decoder sees them, written without loss, and what is refused."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_workshop import coefficients
from PIL import Image

from veilbox.core.coefficients import BLOCK, Coefficients
from veilbox.core.errors import OutputError
from veilbox.media.libjpeg import CodedPicture, library, plain_jpeg, read_coefficients, write_coefficients

_RANDOM = np.random.default_rng(11)
_GRAIN = _RANDOM.integers(0, 256, (61, 83, 3), np.uint8)
_LARGE = Image.fromarray(_GRAIN).resize((83 * 4, 61 * 4), Image.Resampling.BICUBIC)

# Pillow's options, the mode, and the samples that the coefficients stand for.
KINDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "4:4:4": ({"subsampling": 0}, "RGB", "yuv444p"),
    "4:2:2": ({"subsampling": 1}, "RGB", "yuv422p"),
    "4:2:0": ({"subsampling": 2}, "RGB", "yuv420p"),
    "gray": ({}, "L", "gray"),
    "progressive": ({"subsampling": 2, "progressive": True}, "RGB", "yuv420p"),
    "progressive gray": ({"progressive": True}, "L", "gray"),
    "optimised": ({"subsampling": 2, "optimize": True}, "RGB", "yuv420p"),
    "finest steps": ({"subsampling": 0, "quality": 100}, "RGB", "yuv444p"),
    "coarse steps": ({"subsampling": 2, "quality": 1}, "RGB", "yuv420p"),
    "restart markers": ({"subsampling": 2, "restart_marker_blocks": 3}, "RGB", "yuv420p"),
    "restart markers by rows": ({"subsampling": 0, "restart_marker_rows": 1}, "RGB", "yuv444p"),
}


def jpeg(size: tuple[int, int], name: str) -> bytes:
    """A picture of random grain, coded."""
    options, mode, _ = KINDS[name]
    file = io.BytesIO()
    _LARGE.resize(size).convert(mode).save(file, "JPEG", **{"quality": 90} | options)
    return file.getvalue()


def same(one: CodedPicture, other: CodedPicture) -> bool:
    """Whether every coefficient, step and side is equal."""
    told = (one.width, one.height, one.kind) == (other.width, other.height, other.kind)
    return told and all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


def _shown(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_the_library_is_there() -> None:
    assert library() is not None


@pytest.mark.parametrize("size", [(64, 48), (163, 121), (8, 8), (17, 16), (1, 1), (9, 33)])
@pytest.mark.parametrize("name", KINDS)
def test_what_is_read_is_written_without_loss(name: str, size: tuple[int, int]) -> None:
    content = jpeg(size, name)
    picture = coefficients(content)
    assert picture.kind.pixel_format == KINDS[name][2]
    written = write_coefficients(picture)
    assert same(coefficients(written), picture)
    assert np.array_equal(_shown(written), _shown(content))


@pytest.mark.parametrize("name", KINDS)
def test_samples_made_of_coefficients_are_the_decoders(name: str) -> None:
    """Steps, order of frequencies and planes are right, or the picture would be another."""
    content = jpeg((64, 48), name)
    picture = coefficients(content)
    place, frequency = np.mgrid[0:8, 0:8]
    basis = np.cos((2 * place + 1) * frequency * np.pi / 16) / 2
    basis[:, 0] /= np.sqrt(2)
    blocks = picture.planes[0] * np.array(picture.kind.tables[0]).reshape(8, 8)
    luma = (basis @ blocks @ basis.T + 128).transpose(0, 2, 1, 3).reshape(48, 64)
    image = Image.open(io.BytesIO(content))
    image.draft("L", image.size)
    assert np.abs(np.asarray(image).astype(float) - luma.clip(0, 255)).max() < 1.5


def test_progressive_stays_progressive() -> None:
    for name, expected in (("4:2:0", False), ("progressive", True)):
        written = write_coefficients(coefficients(jpeg((64, 48), name)))
        assert bool(Image.open(io.BytesIO(written)).info.get("progressive")) is expected


def test_nothing_of_the_file_but_coefficients_passes() -> None:
    plain = jpeg((64, 48), "4:2:0")
    marked = plain[:2] + b"\xff\xfe\x00\x08secret" + b"\xff\xe5\x00\x08secret" + plain[2:] + b"secret"
    written = write_coefficients(coefficients(marked))
    assert b"secret" not in written
    assert written == write_coefficients(coefficients(plain))


_GOOD = jpeg((64, 48), "4:2:0")
_SCAN = _GOOD.index(b"\xff\xda")
_TABLE = _GOOD[_GOOD.index(b"\xff\xdb") : _GOOD.index(b"\xff\xdb") + 69]
_FRAME = _GOOD[_GOOD.index(b"\xff\xc0") : _GOOD.index(b"\xff\xc0") + 19]

OTHERS: dict[str, bytes] = {
    "nothing": b"",
    "no picture": b"\xff\xd8\xff\xd9",
    "no end": _GOOD[:-2],
    "cut in a header": _GOOD[:100],
    "a second frame header": _GOOD[:_SCAN] + _FRAME + _GOOD[_SCAN:],
    "no frame header": _GOOD.replace(_FRAME, b""),
    "a table between scans": _GOOD[:-2] + _TABLE + _GOOD[_SCAN:],
    "arithmetic coding": _GOOD.replace(b"\xff\xc0", b"\xff\xc9", 1),
    "lossless coding": _GOOD.replace(b"\xff\xc0", b"\xff\xc3", 1),
    "an impossible length": _GOOD[:2] + b"\xff\xe1\x00\x01" + _GOOD[2:],
    "junk between segments": _GOOD[:2] + b"\x00" + _GOOD[2:],
    "another start": _GOOD[:_SCAN] + b"\xff\xd8" + _GOOD[_SCAN:],
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_shapes_are_left_to_the_decoder(name: str) -> None:
    assert plain_jpeg(OTHERS[name]) is None


@given(st.binary(max_size=40), st.integers(0, len(_GOOD)), st.integers(0, len(_GOOD)))
@settings(max_examples=200, deadline=None)
def test_any_bytes_have_a_shape_or_none(junk: bytes, start: int, end: int) -> None:
    plain = plain_jpeg(_GOOD[:start] + junk + _GOOD[end:])
    assert plain is None or plain.endswith(b"\xff\xd9")


def _coded(mode: str, **options: Any) -> bytes:
    file = io.BytesIO()
    _LARGE.resize((64, 48)).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


SAMPLINGS: dict[str, bytes] = {
    "CMYK": _coded("CMYK"),
    "RGB": _coded("RGB", keep_rgb=True),
    # The frame header's factors of luma, after its length, precision, sides, count and number.
    "4:4:0": _GOOD.replace(b"\x01\x22\x00", b"\x01\x12\x00", 1),
    "4:1:1": _GOOD.replace(b"\x01\x22\x00", b"\x01\x41\x00", 1),
}


@pytest.mark.parametrize("name", SAMPLINGS)
def test_components_that_no_ring_format_stands_for_are_not_read(name: str) -> None:
    plain = plain_jpeg(SAMPLINGS[name])
    assert plain is not None
    assert read_coefficients(plain) is None


_ONE = Coefficients(pixel_format="gray", tables=((1,) * BLOCK,))


def _single(place: tuple[int, int], value: int) -> CodedPicture:
    plane = np.zeros((1, 1, 8, 8), np.int16)
    plane[0, 0][place] = value
    return CodedPicture(width=8, height=8, kind=_ONE, planes=(plane,))


@pytest.mark.parametrize(
    ("place", "value"), [((0, 0), 1024), ((0, 0), -1025), ((3, 4), 1024), ((3, 4), -1024), ((7, 7), -32768)]
)
def test_a_coefficient_without_a_code_is_refused_before_the_library_sees_it(place: tuple[int, int], value: int) -> None:
    with pytest.raises(OutputError, match="cannot be coded"):
        write_coefficients(_single(place, value))


@pytest.mark.parametrize(
    ("place", "value"), [((0, 0), 1023), ((0, 0), -1024), ((3, 4), 1023), ((3, 4), -1023), ((7, 7), 1023)]
)
@pytest.mark.parametrize("progressive", [False, True])
def test_the_largest_coefficients_pass(place: tuple[int, int], value: int, *, progressive: bool) -> None:
    picture = _single(place, value)
    picture = dataclasses.replace(picture, kind=dataclasses.replace(_ONE, progressive=progressive))
    assert same(coefficients(write_coefficients(picture)), picture)
