"""How each encoder is driven: options, pixel formats, and what it must not leave behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags as CodecFlags
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from veilbox.core.errors import UsageError
from veilbox.core.frozen import frozen
from veilbox.core.policy import Encoding
from veilbox.core.stream import StreamInfo

_EIGHT = ("yuv420p", "yuv422p", "yuv444p")
_TEN = ("yuv420p10le", "yuv422p10le", "yuv444p10le")
# FF_QP2LAMBDA of libavutil/avutil.h: an encoder's fixed quantizer is given in these units.
_LAMBDA = 118


@frozen
class Coding:
    """One encoder.

    Attributes:
        encoder: FFmpeg's name.
        formats: Pixel formats it takes, of those that rings hold.
        preset: Its option for speed, and the default.
        quality: The default of `crf`; 0 if it has none.
        qscale: Fixed quantizer of encoders without `crf`; 0 if it has one.
        fixed: Options that are always set.
        even: Whether a subsampled side must be even. The cropping of H.264 and HEVC counts in chroma samples
            (H.264 clause 7.4.2.1.1, CropUnitX), so a 4:2:0 stream of theirs cannot be 641 columns wide; 4:4:4 can.
        filters: Bit stream filter that takes the encoder's remarks out.
        aspect: Whether its bit stream can say the sample aspect ratio, which PyAV does not hand to Matroska's muxer.
    """

    encoder: str
    formats: tuple[str, ...]
    preset: tuple[str, str] | None = None
    quality: int = 0
    qscale: int = 0
    fixed: Mapping[str, str] = field(default_factory=dict)
    even: bool = False
    filters: str = ""
    aspect: bool = True

    def options(self, encoding: Encoding) -> dict[str, str]:
        """The encoder's options.

        Raises:
            UsageError: The encoder has no presets or no `crf`.
        """
        options = dict(self.fixed)
        if self.preset is not None:
            options[self.preset[0]] = encoding.preset or self.preset[1]
        elif encoding.preset is not None:
            raise UsageError(f"{self.encoder} has no presets", where="--preset", actual=encoding.preset)
        if self.quality:
            options["crf"] = str(encoding.crf if encoding.crf is not None else self.quality)
        elif encoding.crf is not None:
            raise UsageError(f"{self.encoder} has no constant rate factor", where="--crf", actual=str(encoding.crf))
        return options

    def tune(self, context: VideoCodecContext) -> None:
        """Set what is no option: the fixed quantizer."""
        if self.qscale:
            context.flags |= CodecFlags.qscale
            context.global_quality = self.qscale * _LAMBDA

    def pixel_format(self, info: StreamInfo) -> str:
        """The format to encode in: the ring's, or the nearest that keeps size and, if it can, depth and chroma."""
        wanted = info.pixel_format if info.pixel_format in self.formats else self._nearest(info.pixel_format)
        if not self.even:
            return wanted
        if info.width % 2 and ("420" in wanted or "422" in wanted):
            return wanted.replace("420", "444").replace("422", "444")
        if info.height % 2 and "420" in wanted:
            return wanted.replace("420", "422")
        return wanted

    def _nearest(self, wanted: str) -> str:
        chroma = "yuv420p" if wanted == "gray" else wanted.removesuffix("10le")
        for candidate in (chroma, "yuv444p", "yuv422p", "yuv420p"):
            if candidate in self.formats:
                return candidate
        raise UsageError(f"{self.encoder} cannot encode the film's samples", actual=wanted)

    def filter(self, stream: VideoStream) -> BitStreamFilterContext | None:
        """The filter for the stream's packets, once the encoder is open."""
        return BitStreamFilterContext(self.filters, in_stream=stream) if self.filters else None


CODINGS: dict[str, Coding] = {
    coding.encoder: coding
    for coding in (
        Coding(
            encoder="libx264",
            formats=(*_EIGHT, *_TEN, "gray"),
            preset=("preset", "veryfast"),
            quality=20,
            even=True,
            # x264 writes its version and settings into a SEI message (NAL unit type 6).
            filters="filter_units=remove_types=6",
        ),
        Coding(
            encoder="libx265",
            formats=(*_EIGHT, *_TEN, "gray"),
            preset=("preset", "veryfast"),
            quality=23,
            fixed={"x265-params": "info=0:log-level=error"},
            even=True,
            filters="filter_units=remove_types=39-40",
        ),
        Coding(
            encoder="libsvtav1",
            formats=("yuv420p", "yuv420p10le"),
            preset=("preset", "10"),
            quality=30,
            aspect=False,
        ),
        Coding(
            encoder="libvpx-vp9",
            formats=_EIGHT,  # the libvpx inside PyAV's wheels is built without high bit depth
            preset=("cpu-used", "8"),
            quality=28,
            fixed={"b": "0", "deadline": "realtime", "row-mt": "1"},
            aspect=False,
        ),
        Coding(encoder="mpeg4", formats=("yuv420p",), qscale=3),
    )
}
