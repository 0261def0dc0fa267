"""What a Start announces: everything comes back equal, everything out of bounds is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilbox.core.coefficients import Coefficients
from veilbox.core.errors import ProtocolError
from veilbox.core.frame import PIXEL_FORMATS
from veilbox.core.metadata import MOST_PROFILE, Metadata
from veilbox.core.stream import AnalysisView, AudioInfo, Colour, Kind, StreamInfo
from veilbox.transport.info import decode_info, encode_info
from veilbox.transport.messages import MAX_INFO_BYTES, LocalProtocolError

AUDIO = AudioInfo(codec="aac", sample_rate=48_000, channels=2, layout="stereo", time_base=(1, 48_000), extradata="EhA=")
FILM = StreamInfo(
    kind=Kind.FILM,
    width=641,
    height=451,
    pixel_format="yuv420p",
    time_base=(1001, 30_000),
    frame_rate=(30_000, 1001),
    frames=300,
    rotation=90,
    sample_aspect_ratio=(4, 3),
    colour=Colour(range=1, primaries=9, transfer=16, matrix=9, chroma_location=1),
    audio=AUDIO,
)
PHOTO = StreamInfo(
    kind=Kind.IMAGE,
    width=16,
    height=8,
    pixel_format="yuv444p",
    jpeg_quantization=(tuple(range(1, 65)), (65_535,) * 64),
    jpeg_subsampling=2,
    metadata=Metadata(
        tags=(("Make", "Café"), ("ExposureTime", (1, 125)), ("GPSLatitude", (52, 1, 31, 1, 49, 4))), profile="AAAA"
    ),
)
VIEW = AnalysisView.fit(FILM, long_side=640, stride=32)


@pytest.mark.parametrize(("info", "view"), [(FILM, None), (FILM, VIEW), (PHOTO, None)])
def test_what_is_announced_comes_back(info: StreamInfo, view: AnalysisView | None) -> None:
    assert decode_info(encode_info(info, view)) == (info, view)


@settings(deadline=None)
@given(
    st.integers(1, 16_384),
    st.integers(1, 4096),
    st.sampled_from(sorted(PIXEL_FORMATS)),
    st.tuples(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1)),
    st.sampled_from([0, 90, 180, 270]),
)
def test_any_stream_comes_back(
    width: int, height: int, pixel_format: str, time_base: tuple[int, int], rotation: int
) -> None:
    info = StreamInfo(
        kind=Kind.FILM, width=width, height=height, pixel_format=pixel_format, time_base=time_base, rotation=rotation
    )
    assert decode_info(encode_info(info)) == (info, None)


def _set(tree: Any, path: tuple[str | int, ...], value: object) -> bytes:
    at = tree
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return json.dumps(tree).encode()


SPOILT: dict[str, tuple[tuple[str | int, ...], object, str]] = {
    "no width": (("stream", "width"), 0, "picture size"),
    "huge": (("stream", "width"), 65_536, "picture size"),
    "too many pixels": (("stream", "width"), 65_535 * 10, "picture size"),
    "negative height": (("stream", "height"), -1, "picture size"),
    "unknown pixel format": (("stream", "pixel_format"), "pal8", "pixel format"),
    "unknown kind": (("stream", "kind"), "song", "not valid"),
    "time stands still": (("stream", "time_base"), [0, 1], "time base"),
    "division by zero": (("stream", "frame_rate"), [1, 0], "expected 1 to 2147483647, got 0"),
    "sample aspect of nothing": (("stream", "sample_aspect_ratio"), [1, 0], "denominator"),
    "rational beyond 32 bits": (("stream", "time_base"), [1, 1 << 31], "out of bounds"),
    "three numbers": (("stream", "time_base"), [1, 1, 1], "not valid"),
    "crooked": (("stream", "rotation"), 45, "right angle"),
    "negative length": (("stream", "frames"), -1, "frames"),
    "colour beyond a byte": (("stream", "colour", "matrix"), 256, "colour"),
    "five tables": (("stream", "jpeg_quantization"), [[1] * 64] * 5, "tables"),
    "short table": (("stream", "jpeg_quantization"), [[1] * 63], "expected 64 to 64, got 63"),
    "quantization by zero": (("stream", "jpeg_quantization"), [[0] * 64], "quantization value"),
    "unknown subsampling": (("stream", "jpeg_subsampling"), 3, "jpeg_subsampling"),
    "no codec": (("stream", "audio", "codec"), "x" * 201, "audio name"),
    "no rate": (("stream", "audio", "sample_rate"), 0, "sample_rate"),
    "no channels": (("stream", "audio", "channels"), 0, "channels"),
    "audio without time": (("stream", "audio", "time_base"), [1, 0], "audio time_base"),
    "extradata that is no base64": (("stream", "audio", "extradata"), "***", "base64"),
    "extradata beyond ASCII": (("stream", "audio", "extradata"), "é", "base64"),
    "a tag without a name": (("stream", "metadata", "tags"), [["MakerNote", "x"]], "other tags"),
    "a tag twice": (("stream", "metadata", "tags"), [["Make", "x"], ["Make", "x"]], "other tags"),
    "tags out of order": (("stream", "metadata", "tags"), [["Model", "x"], ["Make", "x"]], "other tags"),
    "a number as a text": (("stream", "metadata", "tags"), [["Make", [1]]], "another type"),
    "a text of two lines": (("stream", "metadata", "tags"), [["Make", "x\ny"]], "another type"),
    "a text that is too long": (("stream", "metadata", "tags"), [["Make", "x" * 201]], "another type"),
    "a date that is none": (("stream", "metadata", "tags"), [["DateTimeOriginal", "yesterday"]], "another type"),
    "one number of two": (("stream", "metadata", "tags"), [["ExposureTime", [1]]], "another type"),
    "a share of nothing": (("stream", "metadata", "tags"), [["ExposureTime", [1, 0]]], "another type"),
    "a number beyond its bits": (
        ("stream", "metadata", "tags"),
        [["GPSAltitudeRef", [256]]],
        "another type",
    ),
    "a profile that is no base64": (("stream", "metadata", "profile"), "***", "base64"),
    "a profile that is too large": (("stream", "metadata", "profile"), "AAAA" * (MOST_PROFILE // 3 + 1), "profile"),
    "an unknown field": (("stream", "name"), "holiday.mp4", "too many"),
    "a view without columns": (("view", "width"), 0, "analysis width"),
    "a huge view": (("view", "height"), 10_000, "analysis height"),
    "the view of another stream": (("view", "frame_width"), 640, "another stream"),
    "a view turned otherwise": (("view", "rotation"), 0, "another stream"),
    "no view at all": (("view",), [], "not valid"),
    "no stream": (("stream",), None, "not valid"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_out_of_bounds_is_refused(name: str) -> None:
    path, value, told = SPOILT[name]
    with pytest.raises(ProtocolError, match=told):
        decode_info(_set(json.loads(encode_info(FILM, VIEW)), path, value))


@settings(deadline=None)
@given(st.sampled_from([path for path, _, _ in SPOILT.values()]), st.none() | st.integers() | st.text() | st.floats())
def test_no_value_is_more_than_a_protocol_error(path: tuple[str | int, ...], value: object) -> None:
    try:
        info, _ = decode_info(_set(json.loads(encode_info(FILM, VIEW)), path, value))
    except ProtocolError:
        return
    assert info.seconds_per_pts > 0


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b"\xff", b" " * (MAX_INFO_BYTES + 1)])
def test_no_announcement(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_info(data)


def test_an_announcement_that_is_too_long_is_ours() -> None:
    audio = AudioInfo(codec="a", sample_rate=1, channels=1, layout="", time_base=(1, 1), extradata="A" * MAX_INFO_BYTES)
    with pytest.raises(LocalProtocolError):
        encode_info(StreamInfo(kind=Kind.FILM, width=1, height=1, pixel_format="gray", audio=audio))


_KIND = Coefficients(pixel_format="yuv420p", tables=((3,) * 64,) * 3)
_STILL = StreamInfo(kind=Kind.IMAGE, width=64, height=48, pixel_format="yuv420p", coefficients=_KIND)


def test_coefficients_come_back() -> None:
    assert decode_info(encode_info(_STILL))[0] == _STILL


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "film"),  # an encoder would take them for samples
        ("pixel_format", "yuv444p"),
        ("pixel_format", "rgb24"),
        ("jpeg_quantization", [[1] * 64]),
    ],
)
def test_coefficients_are_of_one_picture_and_its_samples(field: str, value: object) -> None:
    announced = json.loads(encode_info(_STILL))
    announced["stream"][field] = value
    with pytest.raises(ProtocolError, match="not valid"):
        decode_info(json.dumps(announced).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tables", [[3] * 64] * 2),
        ("tables", [[3] * 63] * 3),
        ("tables", [[0] * 64] * 3),
        ("tables", [[65_536] * 64] * 3),
        ("pixel_format", "rgb24"),
    ],
)
def test_steps_are_bounded(field: str, value: object) -> None:
    announced = json.loads(encode_info(_STILL))
    announced["stream"]["coefficients"][field] = value
    with pytest.raises(ProtocolError, match="not valid"):
        decode_info(json.dumps(announced).encode())
