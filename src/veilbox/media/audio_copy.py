"""An output stream for audio packets that are copied and never decoded.

PyAV builds a stream for copying only from another stream. Here the template is a stream of the same codec in a
container that is thrown away; its encoder is never opened, and the parameters are those that ingest announced.
"""

from __future__ import annotations

import base64
import binascii
import io
from fractions import Fraction
from typing import Any, cast

import av
from av.audio.stream import AudioStream
from av.codec.codec import Codec
from av.container.output import OutputContainer
from av.packet import Packet

from veilbox.core.errors import UsageError
from veilbox.core.stream import AudioInfo
from veilbox.media.picture import AudioPacket

_KEY = 1


def add_audio(container: OutputContainer, info: AudioInfo, fitting: frozenset[str]) -> AudioStream:
    """Add a stream for packets as `info` describes them.

    Args:
        container: Before its header is written.
        info: Of the source's stream.
        fitting: Codecs that the container carries.

    Raises:
        UsageError: The container cannot carry the codec.
    """
    if info.codec not in fitting:
        raise UsageError(
            "the output's container cannot carry the source's audio",
            expected=", ".join(sorted(fitting)),
            actual=info.codec,
            advice="Keep the source's container or write .mkv, or drop the audio",
        )
    try:
        with av.open(io.BytesIO(), "w", format="matroska") as scratch:
            template = scratch.add_stream(_encoder(info.codec), rate=info.sample_rate)
            stream = cast("AudioStream", container.add_stream_from_template(template, opaque=True))
        stream.time_base = Fraction(*info.time_base)
        context = stream.codec_context
        context.sample_rate = info.sample_rate
        context.layout = info.layout
        context.extradata = base64.b64decode(info.extradata, validate=True) or None
    except (av.FFmpegError, ValueError, binascii.Error) as error:
        raise UsageError("the source's audio cannot be copied", actual=info.codec, advice="Drop the audio") from error
    return stream


def audio_packet(packet: AudioPacket, stream: AudioStream, time_base: Fraction) -> Packet[Any]:
    """FFmpeg's packet for a source's packet."""
    copied: Packet[Any] = Packet(packet.payload)
    copied.stream = stream
    copied.time_base = time_base
    copied.pts, copied.dts, copied.duration = packet.pts, packet.dts, packet.duration
    copied.is_keyframe = bool(packet.flags & _KEY)
    return copied


def _encoder(codec: str) -> str:
    """An encoder of the codec; matroska carries every PCM kind that has one."""
    return Codec(codec, "w").name
