"""A JPEG photograph as its coefficients, so that what is not hidden need not be coded again."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from veilbox.core.stream import AnalysisView
from veilbox.media.libjpeg import CodedPicture, library, plain_jpeg, read_coefficients
from veilbox.media.picture import CodedSide
from veilbox.media.turned import upright

# Rings and decoder hold the coefficients several times over; 90 megapixels in 4:2:0.
_MOST_BYTES = 256 << 20
# Sides of the analysis picture are rounded up to a stride of at most this.
_STRIDE = 64


class CodedStill:
    """A picture whose frame in the ring is its coefficients.

    Args:
        picture: Upright.
        small: The same, decoded at the analysis picture's size or somewhat larger.
    """

    pts = 0
    duration = 1

    def __init__(self, picture: CodedPicture, small: Image.Image) -> None:
        self.picture = picture
        self._small = small

    def copy_into(self, buffer: memoryview) -> None:
        """Write the coefficients, plane by plane.

        Args:
            buffer: Writable, at least `StreamInfo.frame_nbytes` long.
        """
        start = 0
        for plane in self.picture.planes:
            target = np.frombuffer(buffer, np.int16, plane.size, start)
            np.copyto(target.reshape(plane.shape), plane)
            start += plane.nbytes

    def analysis(self, view: AnalysisView) -> NDArray[np.uint8]:
        """The whole picture, scaled: (view.height, view.width, 3) RGB, C-contiguous."""
        small = self._small.resize((view.width, view.height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        return np.array(small.convert("RGB"), np.uint8, order="C")


def coded_still(
    image: Image.Image, content: bytes, side: CodedSide, turn: Image.Transpose | None, orientation: int
) -> CodedStill | None:
    """A photograph as its coefficients, if all of it can pass so.

    Args:
        image: Opened from the content, not decoded yet. It is decoded here, at a fraction of its size.
        content: The file's.
        side: As in `open_source`.
        turn: Pillow's word for the orientation.
        orientation: Exif's.

    Returns:
        None where the picture has to pass as samples; the image is of no use then.

    Raises:
        OSError: As Pillow does where the picture does not decode.
    """
    plain = plain_jpeg(content)
    if library() is None or plain is None or not isinstance(image, JpegImageFile) or image.mode not in ("L", "RGB"):
        return None
    if image.width * image.height * 2 > _MOST_BYTES:
        return None
    small = _small(image, side)
    picture = read_coefficients(plain)
    if picture is None or sum(plane.nbytes for plane in picture.planes) > _MOST_BYTES:
        return None
    turned = upright(picture, orientation)
    return None if turned is None else CodedStill(turned, small if turn is None else small.transpose(turn))


def _small(image: JpegImageFile, side: CodedSide) -> Image.Image:
    """The picture, decoded no larger than the analysis picture needs it: the decoder's transform scales by halves."""
    scale = side(image.width, image.height) / max(image.width, image.height)
    least = tuple(math.ceil(length * scale) + _STRIDE for length in image.size)
    image.draft(image.mode, (least[0], least[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.load()
    return image
