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
# Bytes 10 and 11 of OpusHead count the samples to skip at the start (RFC 7845, 5.1); libopus has 312 of them.
_OPUS_SKIP = slice(10, 12)
_USUAL_SKIP = 312


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
            if is_usual_opus(info):
                scratch.start_encoding()  # opens the encoder, and so fills in the delay that Matroska announces
            stream = cast("AudioStream", container.add_stream_from_template(template, opaque=True))
        stream.time_base = Fraction(*info.time_base)
        context = stream.codec_context
        context.sample_rate = info.sample_rate
        context.layout = info.layout
        if info.codec.startswith("pcm_"):  # from it, and not from the sample rate, AVI's muxer derives its clock
            context.bit_rate = info.sample_rate * info.channels * _sample_bits(info.codec)
        context.extradata = base64.b64decode(info.extradata, validate=True) or None
    except (av.FFmpegError, ValueError, binascii.Error) as error:
        raise UsageError("the source's audio cannot be copied", actual=info.codec, advice="Drop the audio") from error
    return stream


def audio_packet(packet: AudioPacket, stream: AudioStream, time_base: Fraction, shift: int = 0) -> Packet[Any]:
    """FFmpeg's packet for a source's packet, `shift` units of its time base later."""
    copied: Packet[Any] = Packet(packet.payload)
    copied.stream = stream
    copied.time_base = time_base
    copied.pts, copied.dts, copied.duration = packet.pts + shift, packet.dts + shift, packet.duration
    copied.is_keyframe = bool(packet.flags & _KEY)
    return copied


def is_usual_opus(info: AudioInfo) -> bool:
    """Whether the stream is Opus with the delay of libopus, the only one that can be announced through PyAV."""
    head = base64.b64decode(info.extradata)
    return info.codec == "opus" and int.from_bytes(head[_OPUS_SKIP], "little") == _USUAL_SKIP


def _sample_bits(pcm: str) -> int:
    """Bits of one sample, from a PCM codec's name; the logarithmic ones have 8 and no number in it."""
    return int("".join(filter(str.isdigit, pcm)) or 8)


def _encoder(codec: str) -> str:
    """An encoder of the codec; matroska carries every PCM kind that has one."""
    return Codec(codec, "w").name
