"""Films, encoded with FFmpeg's libraries through PyAV: same geometry, timing and colour, no words but announced ones.

Every muxer and encoder runs in bit-exact mode: the same frames give the same bytes, and neither names its version.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import Flags as CodecFlags
from av.container.core import Flags as ContainerFlags
from av.container.output import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from veilbox.core.errors import OutputError, UsageError
from veilbox.core.frame import FrameLayout
from veilbox.core.policy import Encoding
from veilbox.core.stream import Kind, StreamInfo
from veilbox.media.audio_copy import add_audio, audio_packet, is_usual_opus
from veilbox.media.coding import CODINGS, Coding
from veilbox.media.disk import output_error
from veilbox.media.film_tags import CREATED, words_for
from veilbox.media.formats import FilmFormat
from veilbox.media.picture import AudioPacket
from veilbox.media.planes import frame_planes, slot_planes

# Neither a header nor a parameter set may need more than FFmpeg's 32-bit rationals hold.
_MAX_TIMESCALE = 2**31 - 1
_BUFFER = 1 << 18


class _Sink:
    """The output file as PyAV sees it; `closed` stops it from writing a trailer behind our back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.closed = False
        self.seek = file.seek
        self.tell = file.tell

    def write(self, content: bytes) -> int:
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]
        return len(content)


class FilmEncoder:
    """A film being written.

    Args:
        file: As in `open_encoder`.
        container: Where it goes.
        info: The stream.
        encoding: Encoder, preset and quality.
        threads: Of the encoder; 0 lets it choose.

    Raises:
        UsageError: Container, encoder, options and stream do not go together.
        OutputError: The file cannot be written.
    """

    def __init__(
        self, file: BinaryIO, container: FilmFormat, info: StreamInfo, encoding: Encoding, *, threads: int = 0
    ) -> None:
        self._info = info
        self._clock = _clock(container, info)
        self._coding = _coding(container, info, encoding)
        self._reorders = container.reorders
        self._from_zero = container.millisecond
        self._audio_shift: int | None = None
        self._layout = info.layout
        self._coded_format = self._coding.pixel_format(info)
        self._converter = VideoReformatter()
        self._file = file
        self._sink = _Sink(file)
        self._done = False
        # A frame's true duration is known when the next one comes: that of a demuxer counts in order of decoding.
        self._held: VideoFrame | None = None
        self._container = _open(self._sink, container, self._clock, words_for(container.muxer, info.metadata))
        try:
            self._video = self._add_video(encoding, threads)
            self._audio = self._add_audio(container)
            self._container.start_encoding()
            self._filter = self._coding.filter(self._video)
        except (av.FFmpegError, ValueError, OSError) as error:
            self._abandon()
            self._refused(error)
        except BaseException:
            self._abandon()
            raise

    def write(self, buffer: memoryview, pts: int, duration: int) -> None:
        """Encode one frame.

        Args:
            buffer: Tight planes in the order of `StreamInfo.layout`; free again on return.
            pts: In units of `StreamInfo.time_base`, greater than the last.
            duration: In the same units; 0 if unknown.

        Raises:
            UsageError: The container cannot hold the timestamp.
            OutputError: The file cannot be written.
        """
        ticks = self._ticks(pts)
        frame = self._frame(buffer)
        frame.time_base = self._clock
        frame.pts = ticks
        frame.duration = max(self._rounded(duration), 0)
        held, self._held = self._held, frame
        if held is not None and held.pts is not None:
            held.duration = ticks - held.pts
            self._encode(held)

    def write_audio(self, packet: AudioPacket) -> None:
        """Copy one packet of the kept audio stream.

        Raises:
            OutputError: The file cannot be written.
        """
        if self._audio is None or self._info.audio is None:
            raise UsageError("the stream was announced without audio", actual=f"a packet at {packet.pts}")
        if self._audio_shift is None:  # Matroska has no time before zero but what Opus announces as its delay
            announced = self._info.audio.codec == "opus" and is_usual_opus(self._info.audio)
            self._audio_shift = max(-packet.pts, 0) if self._from_zero and not announced else 0
        self._mux([audio_packet(packet, self._audio, Fraction(*self._info.audio.time_base), self._audio_shift)])

    def close(self) -> None:
        """Flush the encoder and finish the file; a second call does nothing.

        Raises:
            OutputError: The file cannot be written.
        """
        if self._done:
            return
        if self._held is not None:
            self._encode(self._held)
            self._held = None
        self._encode(None)
        self._done = True
        try:
            self._container.close()
            self._file.flush()
        except (av.FFmpegError, OSError) as error:
            _not_written(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def _abandon(self) -> None:
        self._done = True
        self._held = None
        self._sink.closed = True

    def _add_video(self, encoding: Encoding, threads: int) -> VideoStream:
        info, rate = self._info, Fraction(*self._info.frame_rate)
        os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 otherwise prints its settings to standard error
        added = self._container.add_stream(
            self._coding.encoder,
            rate=rate or None,
            options=self._coding.options(encoding),
            width=info.width,
            height=info.height,
            pix_fmt=self._coded_format,
            time_base=self._clock,
        )
        stream = cast("VideoStream", added)
        context = stream.codec_context
        context.flags |= CodecFlags.bitexact | CodecFlags.frame_duration
        context.thread_count = threads
        self._coding.tune(context)
        if not self._reorders:
            context.max_b_frames = 0
        context.color_range = info.colour.range
        context.color_primaries = info.colour.primaries
        context.color_trc = info.colour.transfer
        context.colorspace = info.colour.matrix
        if info.sample_aspect_ratio[0] > 0:
            context.sample_aspect_ratio = Fraction(*info.sample_aspect_ratio)
        stream.time_base = self._clock
        if info.rotation:
            stream.set_display_rotation(info.rotation)
        return stream

    def _add_audio(self, container: FilmFormat) -> AudioStream | None:
        return None if self._info.audio is None else add_audio(self._container, self._info.audio, container.audio)

    def _refused(self, error: Exception) -> NoReturn:
        if isinstance(error, OSError) and not isinstance(error, av.FFmpegError):
            raise output_error(error) from error
        raise UsageError(
            "the encoder does not take this film with these options",
            expected="a combination that FFmpeg accepts",
            actual=f"{self._coding.encoder}, {self._info.width}x{self._info.height} {self._coded_format}: {error}",
            advice="Try the default encoder and preset",
        ) from error

    def _frame(self, buffer: memoryview) -> VideoFrame:
        info, layout = self._info, self._layout
        if info.pixel_format == "gray" and self._coded_format != "gray":
            return self._gray_frame(buffer)
        frame = VideoFrame(info.width, info.height, info.pixel_format)
        for target, source in zip(frame_planes(frame, layout), slot_planes(buffer, layout), strict=True):
            np.copyto(target, source)
        frame.color_range, frame.colorspace = info.colour.range, info.colour.matrix
        if self._coded_format == info.pixel_format:
            return frame
        return self._converter.reformat(frame, format=self._coded_format)

    def _gray_frame(self, buffer: memoryview) -> VideoFrame:
        """Luma as it is; colour for encoders that want some is neutral."""
        info = self._info
        frame = VideoFrame(info.width, info.height, self._coded_format)
        (luma,) = slot_planes(buffer, self._layout)
        target, *colour = frame_planes(frame, FrameLayout(info.width, info.height, "yuv420p"))
        np.copyto(target, luma)
        for plane in colour:
            plane.fill(128)
        return frame

    def _ticks(self, pts: int) -> int:
        exact = pts * self._info.seconds_per_pts / self._clock
        if exact.denominator != 1:
            raise UsageError(
                "the output's container cannot hold the film's timestamps",
                expected=f"multiples of {self._clock} s",
                actual=f"{pts * self._info.seconds_per_pts} s",
                advice="Write .mp4 or .mkv: AVI knows only a constant frame rate",
            )
        return int(exact)

    def _rounded(self, duration: int) -> int:
        return round(duration * self._info.seconds_per_pts / self._clock)

    def _encode(self, frame: VideoFrame | None) -> None:
        try:
            packets = self._video.encode(frame)
        except (av.FFmpegError, ValueError) as error:
            raise OutputError("the encoder failed", actual=f"{self._coding.encoder}: {error}") from error
        self._mux(self._filtered(packets, last=frame is None))

    def _filtered(self, packets: list[Packet[Any]], *, last: bool) -> Iterable[Packet[Any]]:
        if self._filter is None:
            return packets
        kept = [out for packet in packets for out in self._filter.filter(packet)]
        if last:
            kept += self._filter.filter(None)
        for packet in kept:
            packet.stream = self._video
        return kept

    def _mux(self, packets: Iterable[Packet[Any]]) -> None:
        try:
            for packet in packets:
                self._container.mux_one(packet)
        except (av.FFmpegError, OSError) as error:
            _not_written(error)


def _open(sink: _Sink, container: FilmFormat, clock: Fraction, words: dict[str, str]) -> OutputContainer:
    options = dict(container.options)
    if container.muxer in ("mp4", "mov"):
        # Both clocks tick in the film's own unit, so that edit lists and durations are exact.
        options |= {"video_track_timescale": str(clock.denominator), "movie_timescale": str(clock.denominator)}
        if words.keys() - {CREATED}:  # a time alone has fields of its own
            options["movflags"] = "use_metadata_tags"
    opened = av.open(sink, "w", format=container.muxer, container_options=options, buffer_size=_BUFFER)
    opened.flags |= cast("int", ContainerFlags.bitexact.value)
    opened.metadata.update(words)
    return opened


def _clock(container: FilmFormat, info: StreamInfo) -> Fraction:
    """Seconds of one tick of the encoder; AVI counts frames, the others take the film's own unit."""
    if container.muxer == "avi" and info.frame_rate[0] > 0:
        return 1 / Fraction(*info.frame_rate)
    clock = info.seconds_per_pts
    if clock.denominator > _MAX_TIMESCALE:
        raise UsageError("the film's unit of time is too fine", actual=str(clock))
    return clock


def _coding(container: FilmFormat, info: StreamInfo, encoding: Encoding) -> Coding:
    if info.kind is not Kind.FILM:
        raise UsageError("a picture cannot be written as a film", actual=info.kind)
    if info.rotation and not container.rotation:
        raise UsageError(
            f"{container.muxer} cannot say that frames are shown turned",
            actual=f"{info.rotation} degrees",
            advice="Write .mp4 or .mkv",
        )
    name = encoding.encoder or _default_encoder(container, info)
    if name not in container.encoders:
        raise UsageError(
            "encoder and container do not go together",
            where="--encoder",
            expected=", ".join(container.encoders),
            actual=name,
            advice="Take one of these or another output suffix",
        )
    coding = CODINGS[name]
    if (
        container.millisecond
        and not coding.aspect
        and info.sample_aspect_ratio[0] not in (0, info.sample_aspect_ratio[1])
    ):
        raise UsageError(
            f"{name} in {container.muxer} cannot say that samples are not square",
            actual="sample aspect ratio {}:{}".format(*info.sample_aspect_ratio),
            advice="Write .mp4, or .mkv with libx264",
        )
    return coding


def _default_encoder(container: FilmFormat, info: StreamInfo) -> str:
    """The container's first encoder that keeps the film's samples as they are, else its first."""
    keeping = (name for name in container.encoders if info.pixel_format in CODINGS[name].formats)
    return next(keeping, container.encoders[0])


def _not_written(error: BaseException) -> NoReturn:
    if isinstance(error, OSError) and error.errno is not None:
        raise output_error(error) from error
    raise OutputError("the output cannot be written", actual=str(error)) from error
