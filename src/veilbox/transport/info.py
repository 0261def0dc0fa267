"""What an item's Start announces, as JSON: the stream and, where there is one, the analysis picture.

Decoders parse hostile files, so what they announce is checked once more before anybody divides by it or sizes a
buffer with it.
"""

from __future__ import annotations

import base64
import binascii

from veilbox.core.errors import ProtocolError
from veilbox.core.frozen import frozen
from veilbox.core.metadata import MOST_PROFILE, TAGS, Metadata
from veilbox.core.stream import AnalysisView, AudioInfo, StreamInfo
from veilbox.transport.bounds import inside
from veilbox.transport.messages import MAX_INFO_BYTES, LocalProtocolError
from veilbox.transport.strict_json import parse, read, to_json

# FFmpeg's rationals are pairs of signed 32-bit integers.
_MAX_RATIONAL = (1 << 31) - 1
# Colour code points of ISO/IEC 23091-2 are one byte.
_MAX_CODE_POINT = 255
# The policy's bound on the analysis picture (4096), plus one stride of rounding.
_MAX_VIEW_SIDE = 8_192
# JPEG (ITU-T T.81, B.2.4.1): at most four tables of 64 values of at most 16 bits.
_JPEG_TABLES, _JPEG_VALUES, _JPEG_VALUE = 4, 64, 65_535
# DSD at 512 times 44.1 kHz is the fastest rate in use; FFmpeg's layouts end at 64 channels.
_MAX_SAMPLE_RATE, _MAX_CHANNELS = 44_100 * 512, 64
# FFmpeg's names of codecs, layouts and pixel formats are short; a layout of many channels lists them.
_MAX_NAME = 200


@frozen(kw_only=False)
class _Announced:
    stream: StreamInfo
    view: AnalysisView | None = None


def encode_info(info: StreamInfo, view: AnalysisView | None = None) -> bytes:
    """The bytes of `Start.info`.

    Raises:
        LocalProtocolError: They are more than a Start may carry.
    """
    data = to_json(_Announced(info, view))
    if len(data) > MAX_INFO_BYTES:
        raise LocalProtocolError(f"stream info of {len(data)} bytes is above the bound of {MAX_INFO_BYTES}")
    return data


def decode_info(data: bytes) -> tuple[StreamInfo, AnalysisView | None]:
    """What a peer announced.

    Raises:
        ProtocolError: It is no such JSON or a field is out of its bounds.
    """
    if len(data) > MAX_INFO_BYTES:
        raise ProtocolError("stream info too long", expected=f"<= {MAX_INFO_BYTES} bytes", actual=str(len(data)))
    announced = read(parse(data, "stream info"), _Announced, "stream info")
    _check_stream(announced.stream)
    if announced.view is not None:
        _check_view(announced.view, announced.stream)
    return announced.stream, announced.view


def _check_stream(info: StreamInfo) -> None:
    for name, (above, below) in (
        ("time_base", info.time_base),
        ("frame_rate", info.frame_rate),
        ("sample_aspect_ratio", info.sample_aspect_ratio),
    ):
        inside(f"{name} numerator", above, 0, _MAX_RATIONAL)
        inside(f"{name} denominator", below, 1, _MAX_RATIONAL)
    inside("frames", info.frames, 0, 1 << 40)
    colour = info.colour
    for code in (colour.range, colour.primaries, colour.transfer, colour.matrix, colour.chroma_location):
        inside("colour code point", code, 0, _MAX_CODE_POINT)
    _check_jpeg(info)
    _check_metadata(info.metadata)
    if info.audio is not None:
        _check_audio(info.audio)


def _check_jpeg(info: StreamInfo) -> None:
    inside("number of quantization tables", len(info.jpeg_quantization), 0, _JPEG_TABLES)
    for table in info.jpeg_quantization:
        inside("values of a quantization table", len(table), _JPEG_VALUES, _JPEG_VALUES)
        for value in table:
            inside("quantization value", value, 1, _JPEG_VALUE)
    inside("jpeg_subsampling", info.jpeg_subsampling, -1, 2)


def _check_metadata(metadata: Metadata) -> None:
    names = [name for name, _ in metadata.tags]
    if names != [name for name in TAGS if name in names]:
        raise ProtocolError("metadata of other tags", expected="known ones, each once, in order")
    for name, value in metadata.tags:
        if not TAGS[name].takes(value):
            raise ProtocolError("metadata of another type", where=name, expected=TAGS[name].kind)
    try:
        size = len(base64.b64decode(metadata.profile, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("colour profile is no base64", actual=str(error)) from error
    inside("bytes of a colour profile", size, 0, MOST_PROFILE)


def _check_audio(audio: AudioInfo) -> None:
    inside("length of an audio name", len(audio.codec) + len(audio.layout), 1, _MAX_NAME)
    inside("sample_rate", audio.sample_rate, 1, _MAX_SAMPLE_RATE)
    inside("channels", audio.channels, 1, _MAX_CHANNELS)
    inside("audio time_base numerator", audio.time_base[0], 1, _MAX_RATIONAL)
    inside("audio time_base denominator", audio.time_base[1], 1, _MAX_RATIONAL)
    try:
        base64.b64decode(audio.extradata, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("audio extradata is no base64", actual=str(error)) from error


def _check_view(view: AnalysisView, info: StreamInfo) -> None:
    inside("analysis width", view.width, 1, _MAX_VIEW_SIDE)
    inside("analysis height", view.height, 1, _MAX_VIEW_SIDE)
    told = (view.frame_width, view.frame_height, view.rotation)
    known = (info.width, info.height, info.rotation)
    if told != known:
        raise ProtocolError("the analysis view is of another stream", expected=str(known), actual=str(told))
