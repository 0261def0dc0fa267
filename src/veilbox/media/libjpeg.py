"""Quantised DCT coefficients of JPEG files, read and written by the libjpeg-turbo that Pillow's wheel brings.

Pillow hands out samples only, so the library is asked in its own words (libjpeg's `libjpeg.txt`, "Really raw data: DCT
coefficients"). It calls no function of ours back: a callback needs memory that becomes executable, and no component may
make any. So the library's own answer to a fatal fault stays, which ends the process; who calls `read_coefficients` has
made sure by `plain_jpeg` and by decoding that there is none, and what `write_coefficients` would trip over is refused.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from veilbox.core.coefficients import BLOCK, Coefficients
from veilbox.core.errors import OutputError
from veilbox.core.frozen import frozen

# jpeglib.h of libjpeg-turbo, for the ABI that the file name's `.so.62` stands for, on machines with 64-bit pointers.
# The library compares both sizes itself and refuses others.
_ABI, _COMPRESS_BYTES, _DECOMPRESS_BYTES = 62, 520, 632
_GRAY, _YCBCR = 1, 3  # J_COLOR_SPACE
_IMAGE_POOL = 1  # JPOOL_IMAGE
_BITS = 8
# T.81, table F.1 and F.2: what baseline's codes hold of 8-bit samples.
_LEAST_DC, _MOST = -1024, 1023
_APP1, _APP2 = 0xE1, 0xE2
_ICC = b"ICC_PROFILE\0\1\1"  # ICC.1:2022, B.4: the first part of one
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_SOF = frozenset({0xC0, 0xC1, 0xC2})  # Huffman coding: baseline, extended, progressive
_DHT, _SOS, _DQT, _DRI, _COM = 0xC4, 0xDA, 0xDB, 0xDD, 0xFE
# Sampling factors of luma against chroma's 1x1, to the samples that they stand for.
_FORMATS = {(1, 1): "yuv444p", (2, 1): "yuv422p", (2, 2): "yuv420p"}
_FACTORS = {name: factors for factors, name in _FORMATS.items()} | {"gray": (1, 1)}


class _Table(ctypes.Structure):
    _fields_ = (("values", ctypes.c_uint16 * BLOCK), ("sent", ctypes.c_int))


class _Component(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("id", "index", "across", "down", "table_number", "dc", "ac")),
        ("columns", ctypes.c_uint),
        ("rows", ctypes.c_uint),
        ("unused", ctypes.c_int * 10),
        ("table", ctypes.POINTER(_Table)),
        ("dct", ctypes.c_void_p),
    )


class _Memory(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in (
            "small",
            "large",
            "sarray",
            "barray",
            "request_sarray",
            "request",
            "realize",
            "access_sarray",
            "access",
        )
    )


_COMMON = (
    ("error", ctypes.c_void_p),
    ("memory", ctypes.POINTER(_Memory)),
    ("progress", ctypes.c_void_p),
    ("client", ctypes.c_void_p),
    ("reads", ctypes.c_int),
    ("state", ctypes.c_int),
    ("end", ctypes.c_void_p),
    ("width", ctypes.c_uint),
    ("height", ctypes.c_uint),
)


class _Error(ctypes.Structure):
    _fields_ = (
        ("functions", ctypes.c_void_p * 5),
        ("code", ctypes.c_int),
        ("parameters", ctypes.c_char * 80),
        ("trace_level", ctypes.c_int),
        ("warnings", ctypes.c_long),
        ("rest", ctypes.c_char * 40),
    )


class _Decompress(ctypes.Structure):
    _fields_ = (
        *_COMMON,
        ("component_count", ctypes.c_int),
        ("space", ctypes.c_int),
        ("unused", ctypes.c_char * (296 - 64)),
        ("precision", ctypes.c_int),
        ("components", ctypes.POINTER(_Component)),
        ("progressive", ctypes.c_int),
        ("arithmetic", ctypes.c_int),
        ("rest", ctypes.c_char * (_DECOMPRESS_BYTES - 320)),
    )


class _Compress(ctypes.Structure):
    _fields_ = (
        *_COMMON,
        ("samples", ctypes.c_int),
        ("space", ctypes.c_int),
        ("gamma", ctypes.c_double),
        ("precision", ctypes.c_int),
        ("component_count", ctypes.c_int),
        ("jpeg_space", ctypes.c_int),
        ("components", ctypes.POINTER(_Component)),
        ("rest", ctypes.c_char * (_COMPRESS_BYTES - 96)),
    )


_REQUEST = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint
)
_ACCESS = ctypes.CFUNCTYPE(
    ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_int
)


@frozen
class CodedPicture:
    """A JPEG file's pictures as the file says it.

    Attributes:
        width: Columns of the picture.
        height: Rows of it.
        kind: How its coefficients are to be read.
        planes: For each component (rows, columns, 8, 8) int16, vertical frequency first.
    """

    width: int
    height: int
    kind: Coefficients
    planes: tuple[NDArray[np.int16], ...]


@cache
def library() -> ctypes.CDLL | None:
    """Pillow's own libjpeg; None where Pillow was built against another, or pointers are short."""
    folder = Path(PIL.__file__).parent.parent / "pillow.libs"
    found = sorted(folder.glob(f"libjpeg-*.so.{_ABI}*"))
    if len(found) != 1 or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    loaded = ctypes.CDLL(str(found[0]))
    loaded.jpeg_std_error.restype = ctypes.c_void_p
    loaded.jpeg_read_coefficients.restype = ctypes.POINTER(ctypes.c_void_p)
    for create in (loaded.jpeg_CreateDecompress, loaded.jpeg_CreateCompress):
        create.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    loaded.jpeg_mem_src.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulong)
    return loaded


def plain_jpeg(content: bytes) -> bytes | None:
    """A file's first picture, if it is of the plainest shape: tables, one frame header, scans and their tables, an end.

    Args:
        content: The file's.

    Returns:
        The content up to the picture's end; None for any other shape, which need not be wrong.
    """
    if content[:2] != b"\xff\xd8":
        return None
    at, frames, scans = 2, 0, 0
    while True:
        head = content[at : at + 4]
        if head[:2] == b"\xff\xd9":
            return content[: at + 2] if frames == 1 and scans else None
        length = int.from_bytes(head[2:], "big")
        if len(head) < len(b"\xff\xda\0\0") or head[0] != 0xFF or length < 2 or not _expected(head[1], scans):
            return None
        frames += head[1] in _SOF
        at += 2 + length
        if head[1] == _SOS:
            scans += 1
            following = _MARKER.search(content, at)
            if following is None or frames != 1:
                return None
            at = following.start()


def _expected(marker: int, scans: int) -> bool:
    """Whether a segment may stand there: quantisation tables and the frame header only before the first scan."""
    if marker in (_DHT, _SOS, _DRI):
        return True
    return not scans and (marker in _SOF or marker in (_DQT, _COM) or 0xE0 <= marker <= 0xEF)


def read_coefficients(content: bytes) -> CodedPicture | None:
    """Undo the entropy coding of a picture and nothing else.

    Args:
        content: As from `plain_jpeg`, of a picture that decodes without a fault.

    Returns:
        None for components, sampling or coding that no ring format stands for, and for files in which the library sees
        anything amiss.
    """
    jpeg = library()
    if jpeg is None:
        return None
    state, error = _Decompress(), _Error()
    state.error = jpeg.jpeg_std_error(ctypes.byref(error))
    jpeg.jpeg_CreateDecompress(ctypes.byref(state), _ABI, ctypes.sizeof(state))
    try:
        jpeg.jpeg_mem_src(ctypes.byref(state), content, len(content))
        jpeg.jpeg_read_header(ctypes.byref(state), 1)
        pixel_format = _format(state)
        if pixel_format is None or error.warnings:
            return None
        arrays = jpeg.jpeg_read_coefficients(ctypes.byref(state))
        if error.warnings:
            return None
        return _picture(state, arrays, pixel_format)
    finally:
        jpeg.jpeg_destroy_decompress(ctypes.byref(state))


def _format(state: _Decompress) -> str | None:
    if state.precision != _BITS or state.arithmetic:
        return None
    factors = [(one.across, one.down) for one in state.components[: state.component_count]]
    if state.space == _GRAY and len(factors) == 1:
        return "gray"
    if state.space != _YCBCR or len(factors) != 3:
        return None
    if len(set(factors)) == 1:
        return "yuv444p"
    return _FORMATS.get(factors[0]) if factors[1:] == [(1, 1), (1, 1)] else None


def _picture(state: _Decompress, arrays: ctypes._Pointer[ctypes.c_void_p], pixel_format: str) -> CodedPicture | None:
    components = state.components[: state.component_count]
    planes = tuple(_plane(state, arrays[index], one) for index, one in enumerate(components))
    if not all(map(codable, planes)):
        return None
    tables = tuple(tuple(int(step) for step in one.table.contents.values) for one in components)
    kind = Coefficients(pixel_format=pixel_format, tables=tables, progressive=bool(state.progressive))
    return CodedPicture(width=state.width, height=state.height, kind=kind, planes=planes)


def _plane(state: _Decompress, array: int, component: _Component) -> NDArray[np.int16]:
    access = _ACCESS(state.memory.contents.access)
    plane = np.empty((component.rows, component.columns, 8, 8), np.int16)
    for row in range(component.rows):
        held = access(ctypes.byref(state), array, row, 1, 0)
        ctypes.memmove(plane[row].ctypes.data, held[0], plane[row].nbytes)
    return plane


def codable(plane: NDArray[np.int16]) -> bool:
    """Whether every coefficient is one that 8-bit samples can give; others have no code."""
    if plane.size == 0 or not _LEAST_DC <= int(plane.min()) <= int(plane.max()) <= _MOST:
        return False
    if int(plane.min()) > _LEAST_DC:
        return True
    return bool(np.count_nonzero(plane == _LEAST_DC) == np.count_nonzero(plane[..., 0, 0] == _LEAST_DC))


def write_coefficients(picture: CodedPicture, *, exif: bytes = b"", profile: bytes = b"") -> bytes:
    """Code a picture's coefficients, with tables and headers made anew.

    Args:
        picture: What to write.
        exif: A block with its identifier; empty for none.
        profile: An ICC profile that fits one segment; empty for none.

    Returns:
        A JPEG file.

    Raises:
        OutputError: A coefficient has no code, or the library is not there.
    """
    jpeg = library()
    if jpeg is None or not all(map(codable, picture.planes)):
        raise OutputError("the picture's coefficients cannot be coded", expected="those of 8-bit samples")
    state, error = _Compress(), _Error()
    state.error = jpeg.jpeg_std_error(ctypes.byref(error))
    jpeg.jpeg_CreateCompress(ctypes.byref(state), _ABI, ctypes.sizeof(state))
    buffer, length = ctypes.c_void_p(), ctypes.c_ulong()
    try:
        jpeg.jpeg_mem_dest(ctypes.byref(state), ctypes.byref(buffer), ctypes.byref(length))
        _describe(jpeg, state, picture)
        arrays = _arrays(state, picture)
        jpeg.jpeg_write_coefficients(ctypes.byref(state), arrays)
        for marker, body in ((_APP1, exif), (_APP2, _ICC + profile if profile else b"")):
            if body:
                jpeg.jpeg_write_marker(ctypes.byref(state), marker, body, len(body))
        _fill(state, arrays, picture)
        jpeg.jpeg_finish_compress(ctypes.byref(state))
        return ctypes.string_at(buffer.value or 0, length.value)
    finally:
        jpeg.jpeg_destroy_compress(ctypes.byref(state))
        _free(buffer)


def _describe(jpeg: ctypes.CDLL, state: _Compress, picture: CodedPicture) -> None:
    state.width, state.height = picture.width, picture.height
    state.samples = len(picture.planes)
    state.space = _GRAY if state.samples == 1 else _YCBCR
    jpeg.jpeg_set_defaults(ctypes.byref(state))
    tables = list(dict.fromkeys(picture.kind.tables))
    for number, table in enumerate(tables):
        values = (ctypes.c_uint * BLOCK)(*table)
        jpeg.jpeg_add_quant_table(ctypes.byref(state), number, values, 100, 0)
    for index, table in enumerate(picture.kind.tables):
        component = state.components[index]
        component.across, component.down = _FACTORS[picture.kind.pixel_format] if index == 0 else (1, 1)
        component.table_number = tables.index(table)
    if picture.kind.progressive:
        jpeg.jpeg_simple_progression(ctypes.byref(state))


def _arrays(state: _Compress, picture: CodedPicture) -> ctypes.Array[ctypes.c_void_p]:
    request = _REQUEST(state.memory.contents.request)
    arrays = (ctypes.c_void_p * len(picture.planes))()
    for index, plane in enumerate(picture.planes):
        component = state.components[index]
        rows, columns = plane.shape[:2]
        # Whole units of the scan: the library reads behind the last block where a unit is not full.
        wide, high = -(-columns // component.across) * component.across, -(-rows // component.down) * component.down
        arrays[index] = request(ctypes.byref(state), _IMAGE_POOL, 1, wide, high, component.down)
    return arrays


def _fill(state: _Compress, arrays: ctypes.Array[ctypes.c_void_p], picture: CodedPicture) -> None:
    access = _ACCESS(state.memory.contents.access)
    for index, plane in enumerate(picture.planes):
        whole = np.ascontiguousarray(plane)
        for row in range(len(whole)):
            held = access(ctypes.byref(state), arrays[index], row, 1, 1)
            ctypes.memmove(held[0], whole[row].ctypes.data, whole[row].nbytes)


def _free(buffer: ctypes.c_void_p) -> None:
    free = ctypes.CDLL(None).free
    free.argtypes = (ctypes.c_void_p,)
    free.restype = None
    free(buffer)
