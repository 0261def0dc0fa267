"""Pixel formats and the layout of one frame in a ring slot.

Names are FFmpeg's. A frame is a row of planes without padding, in the order of the format; every plane is an
array of shape (rows, columns, components). Sixteen-bit samples are little-endian.

Source: FFmpeg's `libavutil/pixdesc.c` for component counts and chroma shifts.
"""

from __future__ import annotations

from veilbox.core.errors import SourceUnsupported
from veilbox.core.frozen import frozen

# 2**27: a 16384x8192 picture. The largest pictures of current cameras have 100 to 108 megapixels; above this bound
# one frame would need more memory than a component's limit holds.
MAX_PIXELS = 1 << 27
# H.264 and HEVC level limits and JPEG's 16-bit fields all lie at or below this side length.
MAX_SIDE = 65_535


@frozen(kw_only=False)
class Plane:
    """One plane: interleaved components and the right shifts of its size against the frame's."""

    components: int
    x_shift: int = 0
    y_shift: int = 0


@frozen(kw_only=False)
class PixelFormat:
    """How samples lie in memory.

    Attributes:
        name: FFmpeg's name.
        planes: In memory order.
        depth: Significant bits of a sample.
        rgb: Whether samples are red, green, blue rather than luma and chroma.
        alpha: Whether the last component of the last plane is opacity.
    """

    name: str
    planes: tuple[Plane, ...]
    depth: int = 8
    rgb: bool = False
    alpha: bool = False

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return 1 if self.depth <= 8 else 2


def _yuv(name: str, x_shift: int, y_shift: int, depth: int = 8) -> PixelFormat:
    chroma = Plane(1, x_shift, y_shift)
    return PixelFormat(name, (Plane(1), chroma, chroma), depth=depth)


PIXEL_FORMATS: dict[str, PixelFormat] = {
    fmt.name: fmt
    for fmt in (
        _yuv("yuv420p", 1, 1),
        _yuv("yuv422p", 1, 0),
        _yuv("yuv444p", 0, 0),
        _yuv("yuv420p10le", 1, 1, 10),
        _yuv("yuv422p10le", 1, 0, 10),
        _yuv("yuv444p10le", 0, 0, 10),
        PixelFormat("gray", (Plane(1),)),
        PixelFormat("gray16le", (Plane(1),), depth=16),
        PixelFormat("ya8", (Plane(2),), alpha=True),
        PixelFormat("rgb24", (Plane(3),), rgb=True),
        PixelFormat("rgba", (Plane(4),), rgb=True, alpha=True),
    )
}


@frozen(kw_only=False)
class FrameLayout:
    """Where the samples of one frame lie in a slot.

    Raises:
        SourceUnsupported: The size is empty or beyond `MAX_PIXELS`, or the format is unknown.
    """

    width: int
    height: int
    pixel_format: str

    def __post_init__(self) -> None:
        if self.pixel_format not in PIXEL_FORMATS:
            raise SourceUnsupported(
                "pixel format not handled", expected=", ".join(PIXEL_FORMATS), actual=self.pixel_format
            )
        inside = 0 < self.width <= MAX_SIDE and 0 < self.height <= MAX_SIDE
        if not inside or self.width * self.height > MAX_PIXELS:
            raise SourceUnsupported(
                "picture size out of bounds",
                expected=f"1 to {MAX_PIXELS} pixels, no side above {MAX_SIDE}",
                actual=f"{self.width}x{self.height}",
                advice="Scale or cut the picture first",
            )

    @property
    def format(self) -> PixelFormat:
        """The pixel format's description."""
        return PIXEL_FORMATS[self.pixel_format]

    def plane_shape(self, index: int) -> tuple[int, int, int]:
        """(rows, columns, components) of one plane; odd sizes round up, as in FFmpeg."""
        plane = self.format.planes[index]
        rows = -(-self.height >> plane.y_shift)
        columns = -(-self.width >> plane.x_shift)
        return rows, columns, plane.components

    def plane_nbytes(self, index: int) -> int:
        """Bytes of one plane."""
        rows, columns, components = self.plane_shape(index)
        return rows * columns * components * self.format.sample_bytes

    def plane_offset(self, index: int) -> int:
        """Bytes from the start of the slot to one plane."""
        return sum(self.plane_nbytes(i) for i in range(index))

    @property
    def nbytes(self) -> int:
        """Bytes of a whole frame."""
        return self.plane_offset(len(self.format.planes))
