"""Films, decoded with FFmpeg's libraries through PyAV.

Fail closed: a packet that does not decode without a fault ends the source, because a decoder that conceals a fault
draws something that was never filmed, and a decoder that drops a frame makes the film shorter.
"""

from __future__ import annotations

import base64
import heapq
from collections import deque
from collections.abc import Collection, Generator, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.buffer import Buffer
from av.codec.context import Flags as CodecFlags
from av.container.input import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from veilbox.core.errors import SourceCorrupt, SourceUnsupported
from veilbox.core.frame import PIXEL_FORMATS, FrameLayout
from veilbox.core.metadata import Metadata, MetadataField
from veilbox.core.stream import AnalysisView, AudioInfo, Colour, Kind, StreamInfo
from veilbox.media.completeness import check_complete
from veilbox.media.film_tags import values_of
from veilbox.media.formats import AUDIO_CODECS, DEMUXERS, VIDEO_DECODERS, film_format
from veilbox.media.picture import AudioPacket
from veilbox.media.planes import frame_planes, slot_planes
from veilbox.media.sniff import Family

# Formats whose memory is that of a ring format; the "j" formats are FFmpeg's old way to say full range.
_SAME_MEMORY: dict[str, str] = {"yuvj420p": "yuv420p", "yuvj422p": "yuv422p", "yuvj444p": "yuv444p"} | {
    name: name for name in PIXEL_FORMATS if name.startswith("yuv") or name == "gray"
}

# The nearest ring format that loses no chroma resolution; depth is cut to ten bits, the most that encoders take.
_NEAREST: dict[str, str] = {
    "yuv410p": "yuv420p",
    "yuv411p": "yuv422p",
    "yuvj411p": "yuv422p",
    "yuv440p": "yuv444p",
    "yuvj440p": "yuv444p",
    "yuva420p": "yuv420p",
    "yuv420p12le": "yuv420p10le",
    "yuv422p12le": "yuv422p10le",
    "yuv444p12le": "yuv444p10le",
    "yuv440p10le": "yuv444p10le",
    "yuv440p12le": "yuv444p10le",
    "gray10le": "yuv420p10le",
    "gray12le": "yuv420p10le",
    "gbrp": "yuv444p",
    "gbrp10le": "yuv444p10le",
    "gbrp12le": "yuv444p10le",
}

_FULL_RANGE = 2
_BT709 = 1
_MATRIX_RGB = 0
# Where FFmpeg's decoders say a frame's display matrix: nine 16.16 and 2.30 fixed-point numbers.
_DISPLAY_MATRIX = "DISPLAYMATRIX"


class FilmSource:
    """A film's frames in order of presentation.

    Args:
        file: As in `open_source`.
        family: Its container.
        keep_audio: Whether packets of one audio stream come along.
        output_suffix: The container they must fit into; empty if any will do.
        metadata: Fields of which it tells the values.

    Raises:
        SourceUnsupported: No video stream that veilbox decodes.
        SourceCorrupt: Cut short, or no first frame.
    """

    def __init__(
        self,
        file: BinaryIO,
        family: Family,
        *,
        keep_audio: bool = False,
        output_suffix: str = "",
        metadata: Collection[MetadataField] = (),
    ) -> None:
        check_complete(file, family)
        self._fields = metadata
        self._container = _open_container(file, family)
        try:
            # AVI stores one clock, that of decoding; its frames show in the same instants, in order of presentation.
            self._instants: list[int] | None = [] if family is Family.AVI else None
            self._start(keep_audio=keep_audio, output_suffix=output_suffix)
        except BaseException:
            self._container.close()
            raise

    def _start(self, *, keep_audio: bool, output_suffix: str) -> None:
        self._video = _video_stream(self._container)
        self._audio = _audio_stream(self._container, output_suffix) if keep_audio else None
        for stream in self._container.streams:
            if stream is not self._video and stream is not self._audio:
                stream.discard = Discard.all
        self._expected_packets = len(self._video.index_entries)
        self._number = 0
        self._last_pts: int | None = None
        self._scalers = _Scalers()
        self._items = self._decode()
        self._waiting: deque[VideoFrame | AudioPacket] = deque()
        self._info = self._describe(self._first_frame())

    @property
    def info(self) -> StreamInfo:
        """What is known before the first frame."""
        return self._info

    def read(self) -> Iterator[FilmPicture | AudioPacket]:
        """Every frame once, in order of presentation, with the kept audio's packets between.

        Raises:
            SourceCorrupt: A packet does not decode, or packets are missing.
            SourceUnsupported: Size or format changes on the way.
        """
        while self._waiting:
            yield self._item(self._waiting.popleft())
        for item in self._items:
            yield self._item(item)

    def close(self) -> None:
        """Free the decoder; the file stays open."""
        self._items.close()
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _first_frame(self) -> VideoFrame:
        for item in self._items:
            self._waiting.append(item)
            if isinstance(item, VideoFrame):
                return item
        raise SourceUnsupported("the film has no frames", expected="at least 1", actual="0")

    def _item(self, item: VideoFrame | AudioPacket) -> FilmPicture | AudioPacket:
        if isinstance(item, AudioPacket):
            return item
        self._check_frame(item)
        picture = FilmPicture(item, self._pts(item), self._info, self._scalers)
        self._number += 1
        return picture

    def _check_frame(self, frame: VideoFrame) -> None:
        info = self._info
        if (frame.width, frame.height) != (info.width, info.height):
            raise SourceUnsupported(
                f"the film changes its resolution at frame {self._number}",
                expected=f"{info.width}x{info.height}",
                actual=f"{frame.width}x{frame.height}",
                advice="Split the film there first",
            )
        if _ring_format(frame.format.name) != info.pixel_format:
            raise SourceUnsupported(
                f"the film changes its pixel format at frame {self._number}",
                expected=info.pixel_format,
                actual=frame.format.name,
                advice="Split the film there first",
            )

    def _pts(self, frame: VideoFrame) -> int:
        pts = frame.pts
        if pts is None:
            raise SourceCorrupt(f"frame {self._number} has no timestamp")
        if self._last_pts is not None and pts <= self._last_pts:
            raise SourceCorrupt(
                f"time does not advance at frame {self._number}",
                expected=f"more than {self._last_pts}",
                actual=f"{pts} in units of {self._info.seconds_per_pts} s",
                advice="Repair the film's timestamps first, for example by remuxing it",
            )
        self._last_pts = pts
        return pts

    def _decode(self) -> Generator[VideoFrame | AudioPacket]:
        """Demux and decode; a generator, so that `read` can go on behind the first frame."""
        tally = _Tally(self._video.codec_context.codec.name)
        for packet in self._packets():
            if packet.stream is self._audio:
                yield from _audio_packets(packet)
                continue
            tally.see_packet(packet)
            for frame in self._frames(packet, tally.frames):
                tally.see_frame(frame)
                yield frame
        tally.settle(self._expected_packets)

    def _packets(self) -> Iterator[Packet[Any]]:
        streams = [self._video] if self._audio is None else [self._video, self._audio]
        try:
            yield from self._container.demux(*streams)
        except (av.FFmpegError, OSError) as error:
            raise SourceCorrupt("the film cannot be read to its end", actual=_words(error)) from error

    def _frames(self, packet: Packet[Any], done: int) -> Iterator[VideoFrame]:
        if packet.is_corrupt:
            _corrupt(done, "its packet is incomplete")
        if self._instants is not None and packet.size and packet.dts is not None:
            heapq.heappush(self._instants, packet.dts)
        try:
            frames: list[VideoFrame] = self._video.decode(packet)
        except EOFError:
            return
        except (av.FFmpegError, OSError) as error:
            _corrupt(done, _words(error), error)
        for index, frame in enumerate(frames):
            if frame.is_corrupt:
                _corrupt(done + index, "the decoder had to conceal a fault")
            if self._instants is not None:
                frame.pts = heapq.heappop(self._instants) if self._instants else None
            yield frame

    def _describe(self, frame: VideoFrame) -> StreamInfo:
        stream = self._video
        base = stream.time_base or Fraction(1, 90_000)
        rate = stream.average_rate or stream.guessed_rate or Fraction(0)
        aspect = stream.sample_aspect_ratio or Fraction(0)
        return StreamInfo(
            kind=Kind.FILM,
            width=frame.width,
            height=frame.height,
            pixel_format=_ring_format(frame.format.name),
            time_base=(base.numerator, base.denominator),
            frame_rate=(rate.numerator, rate.denominator),
            frames=max(stream.frames, 0),
            rotation=_rotation(frame),
            sample_aspect_ratio=(aspect.numerator, aspect.denominator),
            colour=_colour(frame),
            audio=_audio_info(self._audio),
            metadata=Metadata(tags=values_of(self._container.metadata)).only(self._fields),
        )


class _Tally:
    """Coded frames that went into the decoder against frames that came out.

    With several threads a fault in the last frames surfaces when the decoder is emptied, and PyAV drops it if other
    frames came out in the same call; then frames are missing and nothing else tells.
    """

    # MPEG-4 part 2 stands in for a frame that repeats the last, or that the last packet brought along, by a header of
    # its own (a VOP that is not coded).
    _STAND_IN = 16

    def __init__(self, codec: str) -> None:
        self._stand_in = self._STAND_IN if codec == "mpeg4" else 0
        self.frames = 0
        self._packets = 0
        self._excused = 0
        self._first_pts: int | None = None
        self._fields = False

    def see_packet(self, packet: Packet[Any]) -> None:
        """Count what goes in; frames that lead the first one are not decoded if they refer to what was cut off."""
        if packet.size == 0:
            return
        self._packets += 1
        if self._first_pts is None:
            self._first_pts = packet.pts
        leading = packet.pts is not None and self._first_pts is not None and packet.pts < self._first_pts
        self._excused += packet.is_discard or leading or packet.size <= self._stand_in

    def see_frame(self, frame: VideoFrame) -> None:
        """Count what comes out; of interlaced films each field may be a packet of its own."""
        self.frames += 1
        self._fields |= frame.interlaced_frame

    def settle(self, expected: int) -> None:
        """Compare.

        Args:
            expected: Coded frames by the container's index.

        Raises:
            SourceCorrupt: Some are missing.
        """
        if self._packets < expected:
            _missing(self._packets, expected)
        if not self._fields and self.frames < self._packets - self._excused:
            _missing(self.frames, self._packets - self._excused)


class _Scalers:
    """libswscale's contexts, one for each step so that none is set up again for the next frame."""

    def __init__(self) -> None:
        self.shrink = VideoReformatter()
        self.colour = VideoReformatter()
        self.convert = VideoReformatter()


class FilmPicture:
    """One decoded frame of a film."""

    def __init__(self, frame: VideoFrame, pts: int, info: StreamInfo, scalers: _Scalers) -> None:
        self._frame = frame
        self._info = info
        self._scalers = scalers
        self.pts = pts
        self.duration = max(frame.duration or 0, 0)

    def copy_into(self, buffer: memoryview) -> None:
        """Write the samples as tight planes, in the order of `StreamInfo.layout`.

        Args:
            buffer: Writable, at least `layout.nbytes` long.
        """
        layout = self._info.layout
        for target, source in zip(
            slot_planes(buffer, layout), frame_planes(self._ring_frame(layout), layout), strict=True
        ):
            np.copyto(target, source)

    def _ring_frame(self, layout: FrameLayout) -> VideoFrame:
        if self._frame.format.name in _SAME_MEMORY:
            return self._frame
        # RGB becomes BT.709 in full range; others keep their matrix and range.
        colour = self._info.colour
        return self._scalers.convert.reformat(
            self._frame,
            format=layout.pixel_format,
            dst_colorspace=colour.matrix if _is_rgb(self._frame) else None,
            dst_color_range=colour.range or None,
        )

    def analysis(self, view: AnalysisView) -> NDArray[np.uint8]:
        """The whole picture, scaled as it was decoded, then turned into RGB and upright.

        Two steps, because scaling luma and chroma and then turning them into RGB cost 0.5 ms of CPU time from 1280x720
        to 640x352, and scaling to RGB in one step 1.9 ms (means of 60 on one thread, FFmpeg 8).

        Returns:
            (view.height, view.width, 3) RGB, C-contiguous.
        """
        columns, rows = view.unrotated
        small = self._scalers.shrink.reformat(
            self._frame, columns, rows, interpolation=Interpolation.BILINEAR, threads=1
        )
        small = self._scalers.colour.reformat(small, format="rgb24", threads=1)
        layout = FrameLayout(columns, rows, "rgb24")
        (plane,) = frame_planes(small, layout)
        pixels = plane.reshape(rows, columns, 3)
        return np.ascontiguousarray(np.rot90(pixels, view.rotation // 90))


def _refuse_open(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    """Whatever else a film refers to is not opened."""
    del url, flags, options
    raise SourceUnsupported("the film refers to another file", advice="Make it self-contained first")


def _open_container(file: BinaryIO, family: Family) -> InputContainer:
    decoders = ",".join(sorted({*VIDEO_DECODERS, *VIDEO_DECODERS.values()}))
    try:
        return av.open(
            file,
            "r",
            format=DEMUXERS[family],
            container_options={
                "format_whitelist": DEMUXERS[family],
                "codec_whitelist": decoders,
                "protocol_whitelist": "none",
                "err_detect": "explode",
            },
            metadata_errors="replace",
            buffer_size=1 << 18,
            io_open=_refuse_open,
        )
    except (av.FFmpegError, OSError) as error:
        raise SourceCorrupt(
            "the film cannot be opened", actual=_words(error), advice="Check the file in a player"
        ) from error


def _video_stream(container: InputContainer) -> VideoStream:
    pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not pictures:
        raise SourceUnsupported(
            "no video stream", expected="a film", actual=", ".join(sorted({s.type or "?" for s in container.streams}))
        )
    stream = pictures[0]
    context = stream.codec_context
    if context is None or context.codec.name not in VIDEO_DECODERS.values():
        raise SourceUnsupported(
            "video codec not handled",
            expected=", ".join(VIDEO_DECODERS),
            actual="unknown" if context is None else context.codec.name,
            advice="Convert the film first",
        )
    context.thread_type = "AUTO"
    context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
    # Without it some decoders drop a faulty frame silently; with it the frame comes out marked, and ends the source.
    context.flags |= CodecFlags.output_corrupt
    return stream


def _audio_stream(container: InputContainer, output_suffix: str) -> AudioStream | None:
    fitting = film_format(output_suffix).audio if output_suffix else AUDIO_CODECS
    for stream in container.streams.audio:
        if stream.codec_context is not None and stream.codec_context.codec.canonical_name in fitting:
            return stream
    if container.streams.audio:
        # Asked for by name, so leaving it out in silence would be wrong.
        found = ", ".join(stream.codec_context.name for stream in container.streams.audio if stream.codec_context)
        raise SourceUnsupported(
            f"its audio cannot be copied into {output_suffix or 'a film'}",
            expected=f"one of {', '.join(sorted(fitting))}",
            actual=found or "an unknown codec",
            advice="Choose another output format, or leave the audio out",
        )
    return None


def _audio_info(stream: AudioStream | None) -> AudioInfo | None:
    if stream is None:
        return None
    context = stream.codec_context
    base = stream.time_base or Fraction(1, context.sample_rate or 48_000)
    return AudioInfo(
        codec=context.codec.canonical_name,
        sample_rate=context.sample_rate,
        channels=context.channels,
        layout=context.layout.name,
        time_base=(base.numerator, base.denominator),
        extradata=base64.b64encode(context.extradata or b"").decode("ascii"),
    )


def _audio_packets(packet: Packet[Any]) -> Iterator[AudioPacket]:
    if packet.size == 0:
        return
    pts = packet.pts if packet.pts is not None else packet.dts
    if pts is None:
        raise SourceCorrupt("an audio packet has no timestamp", advice="Drop the audio, or repair the film first")
    yield AudioPacket(
        pts=pts,
        dts=packet.dts if packet.dts is not None else pts,
        duration=packet.duration or 0,
        flags=int(packet.is_keyframe),
        payload=bytes(packet),
    )


def _ring_format(name: str) -> str:
    ring = _SAME_MEMORY.get(name) or _NEAREST.get(name)
    if ring is None:
        raise SourceUnsupported(
            "pixel format not handled", expected=", ".join(sorted({*_SAME_MEMORY, *_NEAREST})), actual=name
        )
    return ring


def _is_rgb(frame: VideoFrame) -> bool:
    return frame.format.name.startswith("gbr")


def _colour(frame: VideoFrame) -> Colour:
    full = frame.format.name.startswith("yuvj")
    rgb = _is_rgb(frame)
    return Colour(
        range=_FULL_RANGE if full or rgb else frame.color_range,
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
        matrix=_BT709 if rgb or frame.colorspace == _MATRIX_RGB else frame.colorspace,
    )


def _rotation(frame: VideoFrame) -> int:
    matrix = cast("Buffer | None", frame.side_data.get(_DISPLAY_MATRIX))
    if matrix is None:
        return 0
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5].astype(np.int64)
    if a * d < b * c:
        raise SourceUnsupported("the film is shown mirrored", advice="Convert it so that its frames are upright first")
    return round(frame.rotation) % 360


def _words(error: BaseException) -> str:
    """FFmpeg's words for an error, without the name of the file."""
    return getattr(error, "strerror", None) or type(error).__name__


def _corrupt(number: int, why: str, cause: BaseException | None = None) -> NoReturn:
    raise SourceCorrupt(
        f"the film does not decode at frame {number}",
        actual=why,
        advice="Copy the file again, or cut the broken part out first",
    ) from cause


def _missing(found: int, expected: int) -> NoReturn:
    raise SourceCorrupt(
        "frames are missing",
        expected=f"{expected}",
        actual=f"{found}",
        advice="Copy the file again, or repair it first",
    )
