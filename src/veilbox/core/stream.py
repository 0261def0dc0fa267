"""What ingest announces about a source before its first frame."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING

from veilbox.core.coefficients import Coefficients
from veilbox.core.errors import SourceUnsupported
from veilbox.core.frame import FrameLayout
from veilbox.core.frozen import frozen
from veilbox.core.metadata import Metadata

if TYPE_CHECKING:
    from fractions import Fraction


class Kind(StrEnum):
    """A single picture or a film."""

    IMAGE = "image"
    FILM = "film"


@frozen
class Colour:
    """How sample values mean colours, in FFmpeg's numbers (ISO/IEC 23091-2 code points); 2 is unspecified."""

    range: int = 0
    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    chroma_location: int = 0


@frozen
class AudioInfo:
    """One audio stream whose packets are copied when the policy keeps audio.

    Attributes:
        codec: FFmpeg's codec name.
        extradata: Codec set-up bytes, base64.
    """

    codec: str
    sample_rate: int
    channels: int
    layout: str
    time_base: tuple[int, int]
    extradata: str = ""


@frozen
class StreamInfo:
    """One source's pictures.

    Attributes:
        width: Coded columns, before rotation.
        height: Coded rows, before rotation.
        pixel_format: Of the frames in the rings.
        time_base: Seconds of one pts unit, numerator and denominator.
        frame_rate: Average frames a second, for rate control only; timestamps say when a frame shows.
        frames: Expected number of frames; 0 if the source does not say. For progress only, never trusted.
        rotation: Degrees counter-clockwise by which a player turns the frames for display: 0, 90, 180 or 270
            (the sign convention of FFmpeg's `av_display_rotation_get`).
        sample_aspect_ratio: Width to height of one sample; (0, 1) if unknown.
        jpeg_quantization: The quantization tables of a JPEG source that passes as samples, in Pillow's order, empty
            otherwise. Encoding with the same tables keeps the loss outside the boxes near rounding.
        jpeg_subsampling: The JPEG source's chroma subsampling in Pillow's numbers; -1 if not a JPEG.
        coefficients: Of a JPEG picture that passes as its quantised coefficients: what they mean. Frames in the rings
            hold them then, and no samples; `layout` is that of the samples that they stand for.
        lossless: Whether the picture's own compression lost nothing, so that its output must lose nothing either.
        metadata: What the policy lets stay of what the source says about itself.
    """

    kind: Kind
    width: int
    height: int
    pixel_format: str
    time_base: tuple[int, int] = (1, 1)
    frame_rate: tuple[int, int] = (0, 1)
    frames: int = 0
    rotation: int = 0
    sample_aspect_ratio: tuple[int, int] = (0, 1)
    colour: Colour = field(default_factory=Colour)
    audio: AudioInfo | None = None
    jpeg_quantization: tuple[tuple[int, ...], ...] = ()
    jpeg_subsampling: int = -1
    coefficients: Coefficients | None = None
    lossless: bool = False
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        if self.time_base[0] <= 0 or self.time_base[1] <= 0:
            raise SourceUnsupported("time base is not positive", actual=f"{self.time_base}")
        if self.rotation not in (0, 90, 180, 270):
            raise SourceUnsupported(
                "rotation is not a right angle", expected="0, 90, 180 or 270", actual=str(self.rotation)
            )
        _ = self.layout  # a size or format out of bounds is refused here
        if self.coefficients is None:
            return
        # Who takes one for the other would show what was hidden in the wrong place.
        one = self.kind is Kind.IMAGE and not self.jpeg_quantization
        if not one or self.coefficients.pixel_format != self.pixel_format:
            raise SourceUnsupported("coefficients of other samples", actual=f"{self.kind} of {self.pixel_format}")

    @property
    def layout(self) -> FrameLayout:
        """The layout of every frame of the source."""
        return FrameLayout(self.width, self.height, self.pixel_format)

    @property
    def frame_nbytes(self) -> int:
        """Bytes of every frame in the rings."""
        return self.layout.nbytes if self.coefficients is None else self.coefficients.nbytes(self.layout)

    @property
    def seconds_per_pts(self) -> Fraction:
        """The time base as a number."""
        from fractions import Fraction  # noqa: PLC0415 - for ingest alone, not for whoever announces or reads streams

        return Fraction(*self.time_base)


@frozen(kw_only=False)
class AnalysisView:
    """How the analysis picture relates to the frame.

    The analysis picture is the whole frame, scaled to `width` x `height` and turned upright, so that a detector
    sees faces as a viewer does. Sides are multiples of the model's stride; the aspect may stretch by less than one
    stride.

    Attributes:
        width: Columns of the upright analysis picture.
        height: Rows of it.
        frame_width: Columns of the coded frame.
        frame_height: Rows of it.
        rotation: As in `StreamInfo`.
    """

    width: int
    height: int
    frame_width: int
    frame_height: int
    rotation: int = 0

    @classmethod
    def fit(cls, info: StreamInfo, *, long_side: int, stride: int) -> AnalysisView:
        """The view of a stream whose longer upright side is `long_side` pixels, sides rounded up to `stride`.

        Up, because rounding to the nearest costs small faces: 0.860 of 591 were found at native size, 0.888 with
        sides rounded up (CenterFace, 2026-11).
        """
        upright = (info.width, info.height)
        if info.rotation in (90, 270):
            upright = (info.height, info.width)
        width, height = (-(-side * long_side // (max(upright) * stride)) * stride for side in upright)
        return cls(width, height, info.width, info.height, info.rotation)

    @property
    def unrotated(self) -> tuple[int, int]:
        """(columns, rows) of the analysis picture before it is turned upright."""
        if self.rotation in (90, 270):
            return self.height, self.width
        return self.width, self.height
