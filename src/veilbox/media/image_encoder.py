"""Single pictures, encoded with Pillow, with no metadata but the typed values that were announced."""

from __future__ import annotations

import base64
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import ASCII

from veilbox.core.coefficients import BLOCK, SIDE, Coefficients
from veilbox.core.errors import OutputError, UsageError
from veilbox.core.metadata import TAGS, Metadata
from veilbox.core.policy import Encoding
from veilbox.core.stream import StreamInfo
from veilbox.media.colour_profile import rebuilt_profile
from veilbox.media.disk import output_error
from veilbox.media.exif import exif_block
from veilbox.media.image_source import MODES
from veilbox.media.libjpeg import CodedPicture, write_coefficients
from veilbox.media.picture import AudioPacket

# Ring formats that each file format holds.
_HOLDS: dict[str, frozenset[str]] = {
    "JPEG": frozenset({"gray", "rgb24"}),
    "PNG": frozenset(MODES),
    "WEBP": frozenset({"gray", "ya8", "rgb24", "rgba"}),
    "TIFF": frozenset(MODES),
    "BMP": frozenset({"gray", "rgb24"}),
}
_GREYS = frozenset({"gray", "gray16le", "ya8"})
# Where a picture comes from no JPEG: visually lossless (libjpeg's own advice is at most 95), chroma in full.
_JPEG_QUALITY = 95
_WEBP_QUALITY = 95


class ImageEncoder:
    """One picture being written.

    Args:
        file: As in `open_encoder`.
        format_name: Pillow's name.
        info: The picture.
        encoding: For films; nothing of it concerns pictures.

    Raises:
        UsageError: The format cannot hold the picture's samples.
    """

    def __init__(self, file: BinaryIO, format_name: str, info: StreamInfo, encoding: Encoding) -> None:
        del encoding
        if info.coefficients is not None and format_name != "JPEG":
            raise UsageError("coefficients of JPEG go into JPEG files only", actual=format_name)
        if info.coefficients is None and info.pixel_format not in _HOLDS[format_name]:
            raise UsageError(
                f"{format_name} cannot hold the picture's samples",
                expected=", ".join(sorted(_HOLDS[format_name])),
                actual=info.pixel_format,
                advice="Give the output the suffix .png",
            )
        self._file = file
        self._format = format_name
        self._info = info
        self._written = False

    def write(self, buffer: memoryview, pts: int, duration: int) -> None:
        """Encode the picture.

        Args:
            buffer: Tight planes in the order of `StreamInfo.layout`.
            pts: Of no meaning for a picture.
            duration: Likewise.

        Raises:
            OutputError: The file cannot be written.
        """
        del pts, duration
        if self._written:
            raise UsageError("a picture has one frame", actual="a second one")
        self._written = True
        try:
            if self._info.coefficients is not None:
                self._write_whole(_coded(buffer, self._info, self._info.coefficients))
            else:
                options = _options(self._format, self._info) | _told(self._format, self._info)
                _image(buffer, self._info).save(self._file, self._format, **options)
            self._file.flush()
        except OSError as error:
            raise output_error(error) from error

    def _write_whole(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]

    def write_audio(self, packet: AudioPacket) -> None:
        """Refuse: pictures have no sound."""
        raise UsageError("a picture has no audio", actual=f"a packet at {packet.pts}")

    def close(self) -> None:
        """Finish the file.

        Raises:
            OutputError: No picture was written.
        """
        if not self._written:
            raise OutputError("no picture was written")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


def _image(buffer: memoryview, info: StreamInfo) -> Image.Image:
    layout = info.layout
    dtype = "<u2" if layout.format.sample_bytes == 2 else "u1"
    shape = layout.plane_shape(0)
    pixels = np.frombuffer(buffer, dtype, int(np.prod(shape))).reshape(shape)
    return Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels)


def _coded(buffer: memoryview, info: StreamInfo, kind: Coefficients) -> bytes:
    planes, start = [], 0
    for rows, columns in kind.shapes(info.layout):
        # A copy: what is checked below is what is written, whoever writes the ring meanwhile.
        plane = np.frombuffer(buffer, np.int16, rows * columns * BLOCK, start).copy()
        planes.append(plane.reshape(rows, columns, SIDE, SIDE))
        start += plane.nbytes
    picture = CodedPicture(width=info.width, height=info.height, kind=kind, planes=tuple(planes))
    told = _told("JPEG", info)
    return write_coefficients(picture, exif=told.get("exif", b""), profile=told.get("icc_profile", b""))


def _options(format_name: str, info: StreamInfo) -> dict[str, Any]:
    if format_name == "JPEG":
        return _jpeg_options(info)
    if format_name == "WEBP":
        if info.lossless:
            return {"lossless": True, "exact": True, "method": 4}
        return {"quality": _WEBP_QUALITY, "alpha_quality": 100, "exact": True, "method": 4}
    if format_name == "TIFF":
        return {"compression": "tiff_lzw"}
    return {}


def _told(format_name: str, info: StreamInfo) -> dict[str, Any]:
    """Pillow's options for what the file says about itself."""
    space = "GRAY" if info.pixel_format in _GREYS else "RGB"
    profile = rebuilt_profile(base64.b64decode(info.metadata.profile), space)
    told: dict[str, Any] = {"icc_profile": profile} if profile else {}
    return told | _told_tags(format_name, info.metadata)


def _told_tags(format_name: str, metadata: Metadata) -> dict[str, Any]:
    if not metadata.tags:
        return {}
    if format_name == "TIFF":
        return {"tiffinfo": _texts(metadata)}
    return {"exif": b"Exif\0\0" + exif_block(dict(metadata.tags))}


def _texts(metadata: Metadata) -> ImageFileDirectory_v2:
    """TIFF's own tags; as bytes, because Pillow makes question marks of letters beyond ASCII."""
    directory = ImageFileDirectory_v2()
    for name, value in metadata.tags:
        number = TAGS[name].number
        directory.tagtype[number] = ASCII
        directory[number] = str(value).encode()
    return directory


def _jpeg_options(info: StreamInfo) -> dict[str, Any]:
    if not info.jpeg_quantization:
        return {"quality": _JPEG_QUALITY, "subsampling": 0}
    return {
        "qtables": [list(table) for table in info.jpeg_quantization],
        "subsampling": max(info.jpeg_subsampling, 0),
    }
