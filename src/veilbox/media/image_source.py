"""Single pictures, decoded with Pillow."""

from __future__ import annotations

import base64
import struct
import warnings
import zlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from veilbox.core.errors import SourceCorrupt, SourceUnsupported
from veilbox.core.frame import PIXEL_FORMATS, FrameLayout
from veilbox.core.metadata import Metadata, MetadataField
from veilbox.core.stream import AnalysisView, Colour, Kind, StreamInfo
from veilbox.media.coded_still import CodedStill, coded_still
from veilbox.media.colour_profile import rebuilt_profile
from veilbox.media.exif import values_of
from veilbox.media.picture import CodedSide
from veilbox.media.planes import slot_planes
from veilbox.media.sniff import Family

# Pillow's own bound (89 megapixels, then a warning) is below MAX_PIXELS; FrameLayout refuses before pixels are decoded.
Image.MAX_IMAGE_PIXELS = None

# What Pillow's plugins raise on broken files.
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error)
_DECODE_ERRORS = (*_PILLOW_ERRORS, MemoryError, OverflowError, TypeError)

# Pillow's mode to the ring's format; a mode with transparency in its info becomes the second.
_FORMATS: dict[str, tuple[str, str]] = {
    "1": ("gray", "gray"),
    "L": ("gray", "ya8"),
    "LA": ("ya8", "ya8"),
    "La": ("ya8", "ya8"),
    "I;16": ("gray16le", "gray16le"),
    "I;16L": ("gray16le", "gray16le"),
    "I;16B": ("gray16le", "gray16le"),
    "P": ("rgb24", "rgba"),
    "PA": ("rgba", "rgba"),
    "RGB": ("rgb24", "rgba"),
    "RGBX": ("rgb24", "rgb24"),
    "RGBA": ("rgba", "rgba"),
    "RGBa": ("rgba", "rgba"),
    "CMYK": ("rgb24", "rgb24"),
    "YCbCr": ("rgb24", "rgb24"),
    "LAB": ("rgb24", "rgb24"),
}

# The ring's format to the mode that has the same memory.
MODES: dict[str, str] = {"gray": "L", "ya8": "LA", "gray16le": "I;16", "rgb24": "RGB", "rgba": "RGBA"}

_LOSSLESS = frozenset({Family.PNG, Family.BMP, Family.TIFF})
# Modes whose samples become RGB: their profiles are about other samples.
_CONVERTED = frozenset({"CMYK", "LAB", "YCbCr"})
_ORIENTATION = 0x0112  # Exif 2.32, table 4
_TRANSPOSED = frozenset({5, 6, 7, 8})
_FULL_RANGE = 2


class ImageSource:
    """One picture, upright: an orientation in its EXIF data is carried out on the pixels, because the data is dropped.

    Args:
        file: As in `open_source`.
        family: What it is.
        metadata: Fields of which it tells the values.
        coded_side: As in `open_source`.

    Raises:
        SourceUnsupported: Several pictures in one file, too many pixels, or samples that no ring format holds.
        SourceCorrupt: The header is broken.
    """

    def __init__(
        self,
        file: BinaryIO,
        family: Family,
        *,
        metadata: Collection[MetadataField] = (),
        coded_side: CodedSide | None = None,
    ) -> None:
        self._image = _open_image(file, family)
        _check_single(self._image, family)
        self._format = _ring_format(self._image, family)
        _ = FrameLayout(self._image.width, self._image.height, self._format)  # before any pixel is decoded
        # Pillow turns a TIFF file's picture itself when it is loaded, and gives the turned size from the start.
        self._orientation = 1 if family is Family.TIFF else _orientation(self._image)
        self._info = self._describe(family, file, metadata)
        self._coded: CodedStill | None = None
        if coded_side is not None and family is Family.JPEG:
            self._decode_coded(file, coded_side)

    @property
    def info(self) -> StreamInfo:
        """What is known before the pixels are decoded."""
        return self._info

    def read(self) -> Iterator[StillPicture | CodedStill]:
        """The picture.

        Raises:
            SourceCorrupt: Its pixels do not decode to the end.
        """
        if self._coded is not None:
            yield self._coded
            return
        try:
            pixels = _upright(self._image, self._format, self._orientation)
        except _DECODE_ERRORS as error:
            raise _undecodable(error) from error
        yield StillPicture(pixels, self._info.layout)

    def _decode_coded(self, file: BinaryIO, side: CodedSide) -> None:
        """Take the picture's coefficients where they can be had, else begin anew."""
        file.seek(0)
        try:
            turn = _TURNS.get(self._orientation)
            self._coded = coded_still(self._image, file.read(), side, turn, self._orientation)
        except _DECODE_ERRORS as error:
            raise _undecodable(error) from error
        if self._coded is None:
            file.seek(0)
            self._image = _open_image(file, Family.JPEG)
            return
        kind = self._coded.picture.kind
        tables: dict[str, Any] = {"jpeg_quantization": (), "jpeg_subsampling": -1, "coefficients": kind}
        self._info = replace(self._info, pixel_format=kind.pixel_format, **tables)

    def close(self) -> None:
        """Free the decoder; the file stays open."""
        self._image = Image.new("1", (1, 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _describe(self, family: Family, file: BinaryIO, metadata: Collection[MetadataField]) -> StreamInfo:
        width, height = self._image.size
        turned = self._orientation in _TRANSPOSED
        return StreamInfo(
            kind=Kind.IMAGE,
            width=height if turned else width,
            height=width if turned else height,
            pixel_format=self._format,
            frames=1,
            colour=Colour(range=_FULL_RANGE),
            jpeg_quantization=_quantization(self._image, transposed=turned),
            jpeg_subsampling=_subsampling(self._image, transposed=turned),
            lossless=family in _LOSSLESS or (family is Family.WEBP and _is_lossless_webp(file)),
            metadata=_metadata(self._image, self._format).only(metadata) if metadata else Metadata(),
        )


class StillPicture:
    """A decoded picture."""

    pts = 0
    duration = 1

    def __init__(self, image: Image.Image, layout: FrameLayout) -> None:
        self._image = image
        self._layout = layout

    def copy_into(self, buffer: memoryview) -> None:
        """Write the samples as tight planes, in the order of `StreamInfo.layout`.

        Args:
            buffer: Writable, at least `layout.nbytes` long.
        """
        (plane,) = slot_planes(buffer, self._layout)
        pixels = np.asarray(self._image)
        if pixels.dtype.itemsize == 2:
            pixels = pixels.astype("<u2", copy=False)
        np.copyto(plane, np.ascontiguousarray(pixels).view(np.uint8).reshape(plane.shape))

    def analysis(self, view: AnalysisView) -> NDArray[np.uint8]:
        """The whole picture, scaled. Opacity is ignored: a face that is transparent is still in the file.

        Returns:
            (view.height, view.width, 3) RGB, C-contiguous.
        """
        small = _eight_bit(self._image).resize((view.width, view.height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        return np.array(small.convert("RGB"), np.uint8, order="C")


def _undecodable(error: Exception) -> SourceCorrupt:
    return SourceCorrupt(
        "the picture does not decode to its end",
        actual=_words(error),
        advice="Copy the file again, or save it anew from a viewer that can show it",
    )


def _open_image(file: BinaryIO, family: Family) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, which is dropped
            # An MPO file is a JPEG with more behind it: its first picture is the photograph.
            formats = [family.value, "MPO"] if family is Family.JPEG else [family.value]
            if family is Family.PNG:  # loading checks no sum over the pixels' chunks, verifying does
                Image.open(file, formats=formats).verify()
                file.seek(0)
            return Image.open(file, formats=formats)
    except _PILLOW_ERRORS as error:
        raise SourceCorrupt(
            f"the {family.value} picture is broken", actual=_words(error), advice="Copy the file again"
        ) from error


def _check_single(image: Image.Image, family: Family) -> None:
    if family is Family.JPEG:
        return
    try:
        count = int(getattr(image, "n_frames", 1))
    except _PILLOW_ERRORS as error:
        raise SourceCorrupt("the pictures in the file cannot be counted", actual=_words(error)) from error
    if family is Family.GIF:
        raise SourceUnsupported(
            "GIF is not handled",
            actual=f"{count} frames",
            advice="Convert it to MP4 if it moves, to PNG if it does not",
        )
    if count > 1:
        raise SourceUnsupported(
            f"several pictures in one {family.value} file",
            expected="1 frame",
            actual=f"{count} frames",
            advice="Save each page as its own file" if family is Family.TIFF else "Convert the animation to MP4 first",
        )


def _ring_format(image: Image.Image, family: Family) -> str:
    formats = _FORMATS.get(image.mode)
    if formats is None:
        raise SourceUnsupported(
            "kind of samples not handled",
            expected="up to 8 bits in colour, up to 16 in gray",
            actual=f"Pillow's mode {image.mode}",
            advice="Convert the picture first",
        )
    if family is Family.BMP:  # the fourth byte of a BMP pixel is seldom meant and seldom shown
        return formats[0].replace("rgba", "rgb24")
    return formats["transparency" in image.info]


def _orientation(image: Image.Image) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(image.getexif().get(_ORIENTATION, 1))
    except _DECODE_ERRORS:
        return 1  # unreadable metadata is dropped, as all of it is


def _metadata(image: Image.Image, pixel_format: str) -> Metadata:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags = values_of(image.getexif())
    except _DECODE_ERRORS:
        tags = ()
    return Metadata(tags=tags, profile=base64.b64encode(_profile(image, pixel_format)).decode())


def _profile(image: Image.Image, pixel_format: str) -> bytes:
    """The profile, where samples stay in the space that it is about."""
    told = image.info.get("icc_profile")
    if not isinstance(told, bytes) or image.mode in _CONVERTED:
        return b""
    return rebuilt_profile(told, "RGB" if PIXEL_FORMATS[pixel_format].rgb else "GRAY")


def _upright(image: Image.Image, pixel_format: str, orientation: int) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.load()
    mode = MODES[pixel_format]
    if image.mode in ("I;16B", "I;16L"):
        image = Image.fromarray(np.asarray(image).astype("<u2"))
    elif image.mode != mode:
        image = image.convert(mode)
    method = _TURNS.get(orientation)
    return image if method is None else image.transpose(method)


# The transpositions of Exif 2.32 ("Orientation"), as in Pillow's `ImageOps.exif_transpose`.
_TURNS: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _eight_bit(image: Image.Image) -> Image.Image:
    """Sixteen-bit samples stretched to eight bits, so that a detector sees a 12-bit camera's picture too."""
    if image.mode != "I;16":
        return image.convert("RGB") if image.mode not in ("L", "RGB") else image
    samples = np.asarray(image)
    shift = max(int(samples.max(initial=0)).bit_length() - 8, 0)
    return Image.fromarray((samples >> shift).astype(np.uint8))


def _quantization(image: Image.Image, *, transposed: bool) -> tuple[tuple[int, ...], ...]:
    if not isinstance(image, JpegImageFile) or image.mode not in ("L", "RGB"):
        return ()
    tables = [image.quantization[key] for key in sorted(image.quantization)]
    if transposed:
        tables = [np.array(table).reshape(8, 8).T.ravel().tolist() for table in tables]
    return tuple(tuple(int(step) for step in table) for table in tables)


def _subsampling(image: Image.Image, *, transposed: bool) -> int:
    if not isinstance(image, JpegImageFile):
        return -1
    try:
        sampling = int(get_sampling(image))
    except IndexError as error:
        raise SourceCorrupt("the jpeg picture's frame header is broken", advice="Copy the file again") from error
    if sampling < 0 or (transposed and sampling == 1):  # turned 4:2:2 is 4:4:0, which Pillow does not write
        return 0
    return sampling


def _is_lossless_webp(file: BinaryIO) -> bool:
    """Whether the first bitstream chunk is VP8L (WebP container specification, "Simple File Format")."""
    at = file.tell()
    try:
        position = 12
        while True:
            file.seek(position)
            header = file.read(8)
            if len(header) < 8 or header[:4] in (b"VP8 ", b"VP8L"):
                return header[:4] == b"VP8L"
            length = int.from_bytes(header[4:], "little")
            position += 8 + length + length % 2
    finally:
        file.seek(at)


def _words(error: BaseException) -> str:
    """Pillow's words for an error; its messages name no content, and a long one is cut."""
    return str(error).split(" <_io", maxsplit=1)[0] or type(error).__name__
