"""Width, height, frame count, every timestamp, aspect and rotation of the output equal the source's, and nothing stays.

One sealed job for all sources: what a film is must not depend on what went through the same pod before it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from footage_workshop import X264, files_below, film, frame_times, needs_ffmpeg, probe, tool
from sealed_workshop import RunVeilbox
from transcode import transcode

pytestmark = [pytest.mark.sealed, needs_ffmpeg]

X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")
AV1 = ("-c:v", "libsvtav1", "-preset", "12")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "4")
MJPEG = ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p")
B_FRAMES = (*X264, "-bf", "3", "-b_strategy", "0", "-g", "10")
# Seven of each ten frames, at the instants that they had: a variable frame rate.
VARIABLE = ("-vf", "select='not(eq(mod(n,10),3)+eq(mod(n,10),4)+eq(mod(n,10),8))'", "-vsync", "vfr")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One film.

    Attributes:
        coding: What FFmpeg is told behind the test picture.
        again: A second pass that only copies packets, for what one pass cannot make; before its output.
        before: What that second pass is told before its input.
    """

    coding: tuple[str, ...]
    again: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    size: str = "160x120"
    rate: str = "25"
    seconds: str = "0.8"


# Every container with every codec that it carries.
FORMATS = {
    "mp4": (X264, X265, VP9, AV1, MPEG4, MJPEG),
    "mov": (X264, X265, MPEG4, MJPEG),
    "mkv": (X264, X265, VP9, AV1, MPEG4, MJPEG),
    "avi": (X264, MPEG4, MJPEG),
    "webm": (VP9, AV1),
}
SOURCES: dict[str, Source] = {
    f"{coding[1]}.{suffix}": Source(coding=(*coding, "-bf", "0") if suffix == "avi" else coding)
    for suffix, codings in FORMATS.items()
    for coding in codings
} | {
    "ntsc.mp4": Source(coding=B_FRAMES, rate="30000/1001"),
    "ntsc.mkv": Source(coding=B_FRAMES, rate="30000/1001"),
    "ntsc.avi": Source(coding=MPEG4, rate="30000/1001"),
    "slow.mp4": Source(coding=B_FRAMES, rate="5/2", seconds="4"),
    "m4v.m4v": Source(coding=B_FRAMES),
    "variable.mp4": Source(coding=(*X264, *VARIABLE)),
    "variable.mkv": Source(coding=(*X264, *VARIABLE)),
    "variable.webm": Source(coding=(*VP9, *VARIABLE)),
    "variable-b.mp4": Source(coding=(*B_FRAMES, *VARIABLE)),
    "variable-b.mov": Source(coding=(*B_FRAMES, *VARIABLE), rate="24000/1001"),
    "b.mp4": Source(coding=B_FRAMES),
    "b.mkv": Source(coding=B_FRAMES),
    "b.avi": Source(coding=(*MPEG4, "-bf", "2", "-g", "10")),
    "b-hevc.mp4": Source(coding=(*X265, "-g", "10")),
    "open-gop.mkv": Source(coding=(*X264, "-bf", "3", "-b_strategy", "0", "-g", "5", "-x264-params", "open-gop=1")),
    "fragments.mp4": Source(coding=(*B_FRAMES, "-movflags", "+frag_keyframe+empty_moov")),
    # Copied from the eighth frame on: the packets start at a key frame, and an edit list hides the first ones.
    "edit-list.mp4": Source(coding=B_FRAMES, before=("-ss", "0.3"), again=("-c", "copy")),
    "edit-list.mov": Source(coding=B_FRAMES, before=("-ss", "0.5"), again=("-c", "copy")),
    # An empty edit delays the first frame.
    "late.mp4": Source(coding=B_FRAMES, before=("-itsoffset", "1.2"), again=("-c", "copy")),
    "late.mkv": Source(coding=B_FRAMES, before=("-itsoffset", "1.2"), again=("-c", "copy")),
    "late.webm": Source(coding=VP9, before=("-itsoffset", "1.2"), again=("-c", "copy")),
    "turned-90.mp4": Source(coding=B_FRAMES, again=("-c", "copy", "-metadata:s:v", "rotate=90")),
    "turned-180.mp4": Source(coding=B_FRAMES, again=("-c", "copy", "-metadata:s:v", "rotate=180")),
    "turned-270.mov": Source(coding=B_FRAMES, again=("-c", "copy", "-metadata:s:v", "rotate=270")),
    "anamorphic.mp4": Source(coding=(*B_FRAMES, "-vf", "setsar=16/11")),
    "anamorphic.mkv": Source(coding=(*B_FRAMES, "-vf", "setsar=16/11")),
    "anamorphic.avi": Source(coding=(*MPEG4, "-vf", "setsar=16/11")),
    "odd.mp4": Source(coding=(*B_FRAMES, "-pix_fmt", "yuv444p"), size="641x451"),
    "odd.mkv": Source(coding=(*X265, "-pix_fmt", "yuv444p"), size="641x451"),
    "odd.webm": Source(coding=VP9, size="641x451"),
    "odd.avi": Source(coding=MPEG4, size="641x451"),
    "odd-width.mp4": Source(coding=(*B_FRAMES, "-pix_fmt", "yuv444p"), size="641x452"),
    "odd-mjpeg.mov": Source(coding=("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p"), size="641x451"),
    "10-bit.mkv": Source(coding=(*X265, "-pix_fmt", "yuv420p10le")),
    "422.mov": Source(coding=(*X264, "-pix_fmt", "yuv422p")),
    "one-frame.mp4": Source(coding=(*X264, "-frames:v", "1")),
}


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What a player needs to show a film right."""

    size: tuple[int, int]
    times: list[Fraction]
    aspect: str
    rotation: int
    decoded: list[Fraction]

    @classmethod
    def of(cls, path: Path) -> Geometry:
        """As FFmpeg's tools and, independently, PyAV's decoder see it."""
        (stream,) = probe(path, "-select_streams", "v:0", "-show_streams")["streams"]
        turns = [data["rotation"] for data in stream.get("side_data_list", ()) if "rotation" in data]
        aspect = stream.get("sample_aspect_ratio", "1:1")
        return cls(
            size=(stream["width"], stream["height"]),
            times=frame_times(path),
            aspect="1:1" if aspect in ("0:1", "N/A") else aspect,
            rotation=turns[0] % 360 if turns else 0,
            decoded=_decoded_times(path),
        )


def _decoded_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = stream.time_base or Fraction(1)
        if path.suffix == ".avi":  # it says no time of showing; the number of frames must do
            return [index * base for index, _ in enumerate(container.decode(stream))]
        return [frame.pts * base for frame in container.decode(stream) if frame.pts is not None]


def _make(name: str, source: Source, folder: Path) -> None:
    path = folder / name
    if not (source.again or source.before):
        film(path, *source.coding, size=source.size, rate=source.rate, seconds=source.seconds)
        return
    first = path.with_name(f"first-{name}")
    film(first, *source.coding, size=source.size, rate=source.rate, seconds=source.seconds)
    tool("ffmpeg", "-v", "error", "-y", *source.before, "-i", first, *source.again, path)
    first.unlink()


@dataclass(frozen=True, kw_only=True)
class Done:
    """A folder of films after its job."""

    folder: Path
    output: Path
    failures: dict[str, str]
    outputs: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, veilbox: RunVeilbox) -> Iterator[Done]:
    root = tmp_path_factory.mktemp("geometry")
    folder, output = root / "in", root / "out"
    folder.mkdir()
    for name, source in SOURCES.items():
        _make(name, source, folder)
    run = veilbox("anonymize", folder, "-o", output, "--film-side", "64", "--json", timeout_s=170)
    yield Done(
        folder=folder,
        output=output,
        failures={Path(failure["source"]).name: failure["message"] for failure in run.json["failures"]},
        outputs={Path(released["source"]).name: released for released in run.json["outputs"]},
    )
    shutil.rmtree(root)


@pytest.mark.parametrize("name", SOURCES)
def test_a_film_keeps_its_geometry(done: Done, name: str) -> None:
    assert name not in done.failures, done.failures[name]
    source, output = Geometry.of(done.folder / name), Geometry.of(done.output / name)
    assert output == source
    assert done.outputs[name]["frames"] == len(source.times)


# Coded for the first time or anew, with and without B-frames, 10 bits, every second container.
UNTOUCHED = ("libx264.mp4", "libx265.mkv", "libvpx-vp9.webm", "variable-b.mov", "10-bit.mkv", "odd.mp4")


@pytest.mark.parametrize("name", UNTOUCHED)
def test_a_film_with_nothing_to_hide_is_its_plain_transcode(done: Done, tmp_path: Path, name: str) -> None:
    """Byte for byte, so walls, rings and redaction add nothing to the encoder's loss."""
    assert done.outputs[name]["counts"] == {}
    transcode(done.folder / name, tmp_path / name)
    assert (done.output / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_sources_are_what_their_names_say(done: Done) -> None:
    """A table of films is worth nothing if FFmpeg made something else of its rows."""
    seen = {name: Geometry.of(done.folder / name) for name in SOURCES}
    assert [seen[name].rotation for name in ("turned-90.mp4", "turned-180.mp4", "turned-270.mov")] == [90, 180, 270]
    assert {seen[name].aspect for name in SOURCES if name.startswith("anamorphic")} == {"16:11"}
    assert {seen[name].size for name in SOURCES if name.startswith("odd")} == {(641, 451), (641, 452)}
    assert {_pictures(done.folder / name) for name in ("b.mp4", "b.mkv", "b.avi", "b-hevc.mp4")} == {"BIP"}
    for name in SOURCES:
        gaps = {b - a for a, b in zip(seen[name].times, seen[name].times[1:], strict=False)}
        assert (max(gaps, default=0) > Fraction(3, 2) * min(gaps, default=0)) == name.startswith("variable"), name
    for name in ("late.mp4", "late.mkv", "late.webm"):
        assert seen[name].times[0] >= Fraction(6, 5)
    for name in ("edit-list.mp4", "edit-list.mov"):
        packets = probe(done.folder / name, "-select_streams", "v:0", "-show_packets", "-show_entries", "packet=pts")
        assert len(seen[name].times) < len(packets["packets"])


def _pictures(path: Path) -> str:
    shown = probe(path, "-select_streams", "v:0", "-show_entries", "frame=pict_type")
    return "".join(sorted({frame["pict_type"] for frame in shown["frames"]}))


# Encoders that are not their container's default, on the film with the most unruly times.
ENCODERS = {
    "libx265": ("variable-b.mp4", "b.mkv", "turned-90.mp4", "anamorphic.mkv", "edit-list.mov"),
    "libsvtav1": ("variable-b.mp4", "b.mkv", "turned-90.mp4"),
    "libvpx-vp9": ("variable-b.mp4", "b.mkv", "turned-90.mp4"),
    "mpeg4": ("variable-b.mp4", "b.mkv", "turned-90.mp4", "ntsc.avi"),
}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_keeps_the_geometry(veilbox: RunVeilbox, done: Done, tmp_path: Path, encoder: str) -> None:
    sources = [done.folder / name for name in ENCODERS[encoder]]
    run = veilbox("anonymize", *sources, "-o", f"{tmp_path}/out/", "--encoder", encoder, "--film-side", "64")
    assert run.status == 0, run.stdout + run.stderr
    for source in sources:
        assert Geometry.of(tmp_path / "out" / source.name) == Geometry.of(source), source.name


# From one container to another: what both can say stays.
CROSSINGS = {
    "mkv to mp4": ("variable.mkv", "mp4"),
    "avi to mp4": ("b.avi", "mp4"),
    "mp4 to webm": ("slow.mp4", "webm"),
}


@pytest.mark.parametrize("name", CROSSINGS)
def test_another_container_keeps_the_geometry(veilbox: RunVeilbox, done: Done, tmp_path: Path, name: str) -> None:
    source, suffix = done.folder / CROSSINGS[name][0], CROSSINGS[name][1]
    output = tmp_path / f"new.{suffix}"
    run = veilbox("anonymize", source, "-o", output, "--film-side", "64")
    assert run.status == 0, run.stderr
    assert Geometry.of(output) == Geometry.of(source)


AUDIO = {
    "aac.mp4": (*B_FRAMES, "-c:a", "aac"),
    "late-aac.mp4": (*B_FRAMES, "-c:a", "aac", "-output_ts_offset", "0.5"),
    "mp3.mov": (*B_FRAMES, "-c:a", "libmp3lame"),
    "pcm.mov": (*B_FRAMES, "-c:a", "pcm_s16le"),
    "opus.webm": (*VP9, "-c:a", "libopus"),
    "vorbis.mkv": (*B_FRAMES, "-c:a", "libvorbis"),
    "flac.mkv": (*B_FRAMES, "-c:a", "flac"),
    "opus.mkv": (*B_FRAMES, "-c:a", "libopus"),
    "pcm.avi": (*MPEG4, "-c:a", "pcm_s16le"),
    "mp3.avi": (*MPEG4, "-c:a", "libmp3lame"),
}


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory, veilbox: RunVeilbox) -> Iterator[Done]:
    root = tmp_path_factory.mktemp("audio")
    folder, output = root / "in", root / "out"
    folder.mkdir()
    for name, coding in AUDIO.items():
        tool(
            *("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=1"),
            *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=1", "-pix_fmt", "yuv420p"),
            *coding,
            folder / name,
        )
    film(folder / "silent.mp4", *X264)
    run = veilbox("anonymize", folder, "-o", output, "--keep", "audio", "--film-side", "64", "--json")
    yield Done(
        folder=folder,
        output=output,
        failures={Path(failure["source"]).name: failure["message"] for failure in run.json["failures"]},
        outputs={Path(released["source"]).name: released for released in run.json["outputs"]},
    )
    shutil.rmtree(root)


def _packets(path: Path) -> list[tuple[float, str]]:
    """(seconds, digest) of each audio packet."""
    text = tool("ffmpeg", "-v", "error", "-copyts", "-i", path, "-map", "0:a", "-c", "copy", "-f", "framemd5", "-")
    base = Fraction(re.findall(r"#tb 0: (\S+)", text)[0])
    rows = [line.split(",") for line in text.splitlines() if not line.startswith("#")]
    return [(float(int(row[2]) * base), row[5].strip()) for row in rows]


@pytest.mark.parametrize("name", AUDIO)
def test_kept_audio_has_the_same_packets_at_the_same_times(done: Done, heard: Done, name: str) -> None:
    del done
    assert name not in heard.failures, heard.failures[name]
    source, output = _packets(heard.folder / name), _packets(heard.output / name)
    assert [content for _, content in output] == [content for _, content in source]
    assert [at for at, _ in output] == pytest.approx([at for at, _ in source], abs=0.0011)  # Matroska's milliseconds
    assert Geometry.of(heard.output / name) == Geometry.of(heard.folder / name)


def test_a_film_without_audio_keeps_none(heard: Done) -> None:
    assert "silent.mp4" not in heard.failures
    streams = probe(heard.output / "silent.mp4", "-show_streams")["streams"]
    assert [stream["codec_type"] for stream in streams] == ["video"]
    assert files_below(heard.output) == {heard.output / name for name in (*AUDIO, "silent.mp4")}
