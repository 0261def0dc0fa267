"""A film that goes through source and encoder keeps its size, frames, times, turn, aspect and colour."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_workshop import make, needs_ffmpeg, probe, read_all, run, transcode

from veilbox.core.errors import SourceUnsupported, UsageError
from veilbox.core.policy import Encoding
from veilbox.core.stream import AnalysisView
from veilbox.media.picture import AudioPacket
from veilbox.media.source import open_source

pytestmark = needs_ffmpeg

X264 = ("-c:v", "libx264", "-preset", "ultrafast")
VP9 = ("-c:v", "libvpx-vp9", "-b:v", "0", "-crf", "40", "-deadline", "realtime", "-cpu-used", "8")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none")
AV1 = ("-c:v", "libsvtav1", "-preset", "12")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "4")
DROPPED = ("-vf", r"select='not(mod(n\,3))+eq(mod(n\,7)\,1)'", "-vsync", "vfr")

# name, size, rate, arguments
FILMS = [
    ("cfr.mp4", "160x120", "30000/1001", (*X264, "-bf", "2")),
    ("cfr.mkv", "160x120", "30000/1001", (*X264, "-bf", "2")),
    ("cfr.mov", "160x120", "24000/1001", (*X264, "-bf", "2")),
    ("vfr.mp4", "160x120", "30", (*DROPPED, *X264, "-bf", "2")),
    ("vfr.mkv", "160x120", "30", (*DROPPED, *X264, "-bf", "2")),
    ("late.mp4", "160x120", "30000/1001", ("-vf", "setpts=PTS+1001*3/30000/TB", *X264, "-bf", "2")),
    ("late.mkv", "160x120", "25", ("-vf", "setpts=PTS+0.5/TB", *X264, "-bf", "2")),
    ("plain.avi", "160x120", "25", (*X264, "-bf", "0")),
    ("reordered.avi", "160x120", "25", (*X264, "-bf", "2")),
    ("mpeg4.avi", "160x120", "30000/1001", MPEG4),
    ("mpeg4-b.avi", "160x120", "30000/1001", (*MPEG4, "-bf", "2")),
    ("mjpeg.avi", "160x120", "25", ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p")),
    ("hevc.mp4", "160x120", "25", X265),
    ("vp9.webm", "160x120", "25", VP9),
    ("av1.webm", "160x120", "25", AV1),
    ("odd.mp4", "641x451", "25", VP9),
    ("odd.webm", "641x451", "25", VP9),
    ("odd.avi", "641x451", "25", MPEG4),
    ("odd-444.mp4", "641x451", "25", (*X264, "-pix_fmt", "yuv444p")),
    ("odd-height.mp4", "640x451", "25", (*X264, "-pix_fmt", "yuv422p")),
    ("single.mp4", "16x16", "25", (*X264, "-frames:v", "1")),
]


@pytest.mark.parametrize(("name", "size", "rate", "arguments"), FILMS, ids=[film[0] for film in FILMS])
def test_size_frames_and_times_are_kept(
    tmp_path: Path, name: str, size: str, rate: str, arguments: tuple[str, ...]
) -> None:
    source = make(tmp_path / name, *arguments, size=size, rate=rate)
    before, after = read_all(source), transcode(source, tmp_path / f"out-{name}")
    seen, made = probe(source), probe(after.path)
    assert after.times == before.times
    assert (after.info.width, after.info.height) == (before.info.width, before.info.height)
    assert f"{made['streams'][0]['width']}x{made['streams'][0]['height']}" == size
    assert len(made["frames"]) == len(seen["frames"]) == len(before.frames)
    if not name.endswith(".avi"):  # AVI stores no timestamps; what ffprobe makes of that depends on the codec
        assert [f["pts_time"] for f in made["frames"]] == [f["pts_time"] for f in seen["frames"]]


def test_avi_frames_show_in_the_instants_of_its_one_clock(tmp_path: Path) -> None:
    film = read_all(make(tmp_path / "b.avi", *MPEG4, "-bf", "2", rate="10"))
    assert film.times == [Fraction(n, 10) for n in range(10)]


def test_an_edit_list_that_cuts_the_start_stays_cut(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", *X264, "-bf", "2", "-g", "10", seconds="2")
    cut = tmp_path / "cut.mp4"
    run("ffmpeg", "-v", "error", "-y", "-ss", "0.6", "-i", str(whole), "-c", "copy", str(cut))
    before, after = read_all(cut), transcode(cut, tmp_path / "out.mp4")
    assert len(before.frames) < 50
    assert after.times == before.times
    assert before.times[0] == 0


FORMATS = [
    ("p10.mp4", (*X264, "-pix_fmt", "yuv420p10le"), "yuv420p10le", "yuv420p10le"),
    ("p10-422.mkv", (*X265, "-pix_fmt", "yuv422p10le"), "yuv422p10le", "yuv422p10le"),
    ("422.mp4", (*X264, "-pix_fmt", "yuv422p"), "yuv422p", "yuv422p"),
    ("444.mp4", (*X264, "-pix_fmt", "yuv444p"), "yuv444p", "yuv444p"),
    ("p12.mp4", (*X265, "-pix_fmt", "yuv420p12le"), "yuv420p10le", "yuv420p10le"),
    ("gray.mp4", (*X265, "-pix_fmt", "gray"), "gray", "yuvj420p"),
    ("full.mp4", (*X264, "-pix_fmt", "yuvj420p"), "yuv420p", "yuvj420p"),
    ("rgb.mkv", ("-c:v", "libx264rgb", "-preset", "ultrafast"), "yuv444p", "yuvj444p"),
    ("mjpeg-422.mov", ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj422p"), "yuv422p", "yuvj422p"),
]


@pytest.mark.parametrize(("name", "arguments", "ring", "coded"), FORMATS, ids=[f[0] for f in FORMATS])
def test_pixel_formats(tmp_path: Path, name: str, arguments: tuple[str, ...], ring: str, coded: str) -> None:
    source = make(tmp_path / name, *arguments)
    before = read_all(source)
    after = transcode(source, tmp_path / f"out-{name}", Encoding(crf=4))
    assert before.info.pixel_format == ring
    made = probe(after.path)["streams"][0]["pix_fmt"]
    assert made == coded
    if after.info.layout == before.info.layout:
        sample = np.dtype("u1" if before.info.layout.format.sample_bytes == 1 else "<u2")
        old = np.frombuffer(before.frames[5], sample).astype(int)
        new = np.frombuffer(after.frames[5], sample).astype(int)
        assert abs(old - new).mean() < 3 << (before.info.layout.format.depth - 8)


def test_ten_bits_in_webm_are_kept_by_another_encoder(tmp_path: Path) -> None:
    source = make(tmp_path / "p10.webm", *AV1, "-pix_fmt", "yuv420p10le")
    after = transcode(source, tmp_path / "out.webm")
    assert probe(after.path)["streams"][0]["pix_fmt"] == "yuv420p10le"


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi"])
def test_sample_aspect_ratio(tmp_path: Path, suffix: str) -> None:
    source = make(tmp_path / f"a.{suffix}", "-vf", "setsar=4/3", *X264, "-bf", "0")
    after = transcode(source, tmp_path / f"out.{suffix}")
    assert after.info.sample_aspect_ratio == (4, 3)
    assert probe(after.path)["streams"][0]["sample_aspect_ratio"] == "4:3"


def test_webm_refuses_samples_that_are_not_square(tmp_path: Path) -> None:
    source = make(tmp_path / "a.webm", "-vf", "setsar=4/3", *VP9)
    with pytest.raises(UsageError, match="not square"):
        transcode(source, tmp_path / "out.webm")


def test_colour_tags(tmp_path: Path) -> None:
    tags = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
    source = make(tmp_path / "a.mp4", *X264, *tags)
    stream = probe(transcode(source, tmp_path / "out.mp4").path)["streams"][0]
    found = {key: stream[key] for key in ("color_space", "color_primaries", "color_transfer", "color_range")}
    assert found == {
        "color_space": "bt709",
        "color_primaries": "bt709",
        "color_transfer": "bt709",
        "color_range": "tv",
    }


def _with_matrix(path: Path, matrix: tuple[int, ...]) -> Path:
    """The film with another display matrix in its track header (ISO/IEC 14496-12, 8.3.2)."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    content[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(content)
    return path


ONE, UNIT = 1 << 16, 1 << 30
TURNS = {
    0: (ONE, 0, 0, 0, ONE, 0, 0, 0, UNIT),
    90: (0, -ONE, 0, ONE, 0, 0, 0, 0, UNIT),
    180: (-ONE, 0, 0, 0, -ONE, 0, 0, 0, UNIT),
    270: (0, ONE, 0, -ONE, 0, 0, 0, 0, UNIT),
}


@pytest.mark.parametrize("rotation", TURNS)
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_rotation_is_kept_and_the_analysis_picture_is_upright(tmp_path: Path, rotation: int, suffix: str) -> None:
    source = _with_matrix(make(tmp_path / "a.mp4", *X264), TURNS[rotation])
    after = transcode(source, tmp_path / f"out.{suffix}")
    assert after.info.rotation == rotation
    data = probe(after.path)["streams"][0].get("side_data_list", [])
    assert [int(entry["rotation"]) % 360 for entry in data] == [rotation] * bool(rotation)


def test_the_analysis_picture_is_turned_counter_clockwise(tmp_path: Path) -> None:
    left_red = ("-vf", "drawbox=x=0:y=0:w=80:h=120:c=red:t=fill,drawbox=x=80:y=0:w=80:h=120:c=blue:t=fill")
    film = _with_matrix(make(tmp_path / "a.mp4", *left_red, *X264), TURNS[90])
    with film.open("rb") as file, open_source(file) as source:
        view = AnalysisView.fit(source.info, long_side=128, stride=32)
        picture = next(iter(source.read()))
        assert not isinstance(picture, AudioPacket)
        seen = picture.analysis(view)
    assert seen.shape == (view.height, view.width, 3) == (128, 96, 3)
    assert seen.flags.c_contiguous
    top, bottom = seen[10, 48], seen[-10, 48]  # turned counter-clockwise, the right half is on top
    assert (top[2] > 200, top[0] < 60) == (True, True)
    assert (bottom[0] > 200, bottom[2] < 60) == (True, True)


def test_a_mirrored_film_is_refused(tmp_path: Path) -> None:
    film = _with_matrix(make(tmp_path / "a.mp4", *X264), (-ONE, 0, 0, 0, ONE, 0, 0, 0, UNIT))
    with pytest.raises(SourceUnsupported, match="mirrored"):
        read_all(film)


def test_avi_refuses_what_it_cannot_say(tmp_path: Path) -> None:
    turned = _with_matrix(make(tmp_path / "turned.mp4", *X264), TURNS[90])
    with pytest.raises(UsageError, match="shown turned"):
        transcode(turned, tmp_path / "out.avi")
    uneven = make(tmp_path / "uneven.mp4", *DROPPED, *X264, rate="30")
    with pytest.raises(UsageError, match="timestamps"):
        transcode(uneven, tmp_path / "out.avi")
