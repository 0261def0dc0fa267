"""Single pictures, encoded with Pillow, without a word of metadata."""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from PIL import Image

from veilbox.core.errors import OutputError, UsageError
from veilbox.core.policy import Encoding
from veilbox.core.stream import StreamInfo
from veilbox.media.image_source import MODES
from veilbox.media.picture import AudioPacket

# Ring formats that each file format holds.
_HOLDS: dict[str, frozenset[str]] = {
    "JPEG": frozenset({"gray", "rgb24"}),
    "PNG": frozenset(MODES),
    "WEBP": frozenset({"gray", "ya8", "rgb24", "rgba"}),
    "TIFF": frozenset(MODES),
    "BMP": frozenset({"gray", "rgb24"}),
}
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
        if info.pixel_format not in _HOLDS[format_name]:
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
        image = _image(buffer, self._info)
        try:
            image.save(self._file, self._format, **_options(self._format, self._info))
            self._file.flush()
        except OSError as error:
            raise output_error(error) from error

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


def output_error(error: OSError) -> OutputError:
    """The tree's error for a file that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return OutputError(
        "the disk is full" if full else "the output cannot be written",
        actual=error.strerror or type(error).__name__,
        advice="Free some space and start again" if full else "",
    )


def _image(buffer: memoryview, info: StreamInfo) -> Image.Image:
    layout = info.layout
    dtype = "<u2" if layout.format.sample_bytes == 2 else "u1"
    shape = layout.plane_shape(0)
    pixels = np.frombuffer(buffer, dtype, int(np.prod(shape))).reshape(shape)
    return Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels)


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


def _jpeg_options(info: StreamInfo) -> dict[str, Any]:
    if not info.jpeg_quantization:
        return {"quality": _JPEG_QUALITY, "subsampling": 0}
    return {
        "qtables": [list(table) for table in info.jpeg_quantization],
        "subsampling": max(info.jpeg_subsampling, 0),
    }
