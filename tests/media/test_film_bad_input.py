"""Films that are broken, cut short or lie: refused with a reason, or decoded in full."""

from __future__ import annotations

import errno
import io
import os
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_workshop import make, needs_ffmpeg, probe, read_all, run

from veilbox.core.errors import InputError, SourceCorrupt, SourceMissing, SourceUnsupported
from veilbox.media.completeness import check_complete
from veilbox.media.sniff import Family
from veilbox.media.source import open_source

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "12")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "4", "-g", "12")
MJPEG = ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p")
FRAMES = 50
FILMS = {
    "end.mp4": X264,
    "start.mp4": (*X264, "-movflags", "+faststart"),
    "fragments.mp4": (*X264, "-movflags", "+frag_keyframe+empty_moov"),
    "a.mov": X264,
    "a.mkv": X264,
    "live.mkv": (*X264, "-live", "1"),
    "mpeg4.avi": MPEG4,
    "mjpeg.avi": MJPEG,
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    return {name: make(folder / name, *coding, size="320x240", seconds="2") for name, coding in FILMS.items()}


def _written(path: Path, content: bytes | bytearray) -> Path:
    path.write_bytes(content)
    return path


@needs_ffmpeg
@pytest.mark.parametrize("name", FILMS)
def test_whole_films_decode(films: dict[str, Path], name: str) -> None:
    assert len(read_all(films[name]).frames) == FRAMES


@needs_ffmpeg
@pytest.mark.parametrize("name", FILMS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_film_cut_short_is_corrupt(films: dict[str, Path], tmp_path: Path, name: str, share: float) -> None:
    content = films[name].read_bytes()
    cut = _written(tmp_path / name, content[: int(len(content) * share)])
    with pytest.raises(SourceCorrupt, match=r"cut short|no index"):
        read_all(cut)


@needs_ffmpeg
@pytest.mark.parametrize("name", FILMS)
def test_a_corrupt_middle_is_named_by_its_frame(films: dict[str, Path], tmp_path: Path, name: str) -> None:
    content = bytearray(films[name].read_bytes())
    at = len(content) // 3
    content[at : at + 200] = random.Random(5).randbytes(200)  # noqa: S311
    with pytest.raises(SourceCorrupt, match=r"does not decode at frame \d+|structure is broken"):
        read_all(_written(tmp_path / name, content))


@needs_ffmpeg
@pytest.mark.parametrize("name", ["start.mp4", "fragments.mp4", "a.mkv", "mpeg4.avi"])
def test_a_fault_in_the_last_frames_is_noticed(films: dict[str, Path], tmp_path: Path, name: str) -> None:
    content = bytearray(films[name].read_bytes())
    back = {"a.mkv": 1000, "mpeg4.avi": 1400}.get(name, 900)
    content[-back : -back + 60] = random.Random(6).randbytes(60)  # noqa: S311
    with pytest.raises(SourceCorrupt):
        read_all(_written(tmp_path / name, content))


@needs_ffmpeg
@pytest.mark.parametrize("factor", [10, 0.1])
def test_a_duration_that_lies_is_not_believed(films: dict[str, Path], tmp_path: Path, factor: float) -> None:
    content = bytearray(films["end.mp4"].read_bytes())
    for box, offset in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):  # ISO/IEC 14496-12, version 0 of each
        at = content.index(box) + offset
        (told,) = struct.unpack(">I", content[at : at + 4])
        content[at : at + 4] = struct.pack(">I", int(told * factor))
    film = _written(tmp_path / "lie.mp4", content)
    assert float(probe(film, frames=False)["format"]["duration"]) == pytest.approx(2 * factor)
    assert len(read_all(film).frames) == FRAMES


@needs_ffmpeg
def test_a_frame_count_that_lies_is_not_believed(films: dict[str, Path], tmp_path: Path) -> None:
    content = bytearray(films["mpeg4.avi"].read_bytes())
    for chunk, offset in ((b"avih", 24), (b"strh", 40)):  # AVIMAINHEADER.dwTotalFrames, AVISTREAMHEADER.dwLength
        at = content.index(chunk) + offset
        content[at : at + 4] = struct.pack("<I", 9999)
    film = read_all(_written(tmp_path / "lie.avi", content))
    assert film.info.frames == 9999
    assert len(film.frames) == FRAMES


@needs_ffmpeg
def test_a_film_without_frames(films: dict[str, Path], tmp_path: Path) -> None:
    content = films["fragments.mp4"].read_bytes()
    empty = _written(tmp_path / "zero.mp4", content[: content.index(b"moof") - 4])
    with pytest.raises(SourceUnsupported, match=r"no frames|no video"):
        read_all(empty)


@needs_ffmpeg
def test_audio_alone_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", str(path))
    with pytest.raises(SourceUnsupported, match=r"no video stream \(expected a film, got audio\)"):
        read_all(path)


@needs_ffmpeg
def test_a_codec_that_is_not_allowed(tmp_path: Path) -> None:
    path = make(tmp_path / "a.avi", "-c:v", "ffv1")
    with pytest.raises(SourceUnsupported, match="video codec not handled"):
        read_all(path)


@needs_ffmpeg
def test_a_change_of_resolution_is_named_by_its_frame(tmp_path: Path) -> None:
    for name, size in (("one.h264", "320x240"), ("two.h264", "160x120")):
        make(tmp_path / name, "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", size=size)
    both = _written(tmp_path / "both.h264", (tmp_path / "one.h264").read_bytes() + (tmp_path / "two.h264").read_bytes())
    run("ffmpeg", "-v", "error", "-i", str(both), "-c", "copy", str(tmp_path / "both.avi"))
    with pytest.raises(SourceUnsupported, match=r"resolution at frame 25 \(expected 320x240, got 160x120\)"):
        read_all(tmp_path / "both.avi")


NO_MEDIA = {
    "empty": (b"", "the file is empty"),
    "text": (b"this is text named .mp4\n" * 9, "got text"),
    "playlist": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "got text"),
    "concat": (b"ffconcat version 1.0\nfile a.mp4\n", "got text"),
    "zeros": (bytes(4096), "no picture or film"),
    "heif": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "no picture or film"),
}


@pytest.mark.parametrize("name", NO_MEDIA)
def test_no_media(name: str) -> None:
    content, words = NO_MEDIA[name]
    with pytest.raises(SourceUnsupported, match=words):
        open_source(io.BytesIO(content))


class _BadSector(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        del size
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_what_the_disk_cannot_read_is_a_fault_of_the_source() -> None:
    with pytest.raises(SourceMissing, match=r"cannot be read \(got Input/output error\)"):
        open_source(_BadSector())


HEADS = [b"\0\0\0\x18ftypisom\0\0\0\0isommp42", b"\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01", b"RIFF\x40\0\0\0AVI LIST"]


@settings(max_examples=150, deadline=None)
@given(head=st.sampled_from(HEADS), tail=st.binary(max_size=300))
def test_any_bytes_behind_a_film_header_end_in_an_input_error(head: bytes, tail: bytes) -> None:
    with pytest.raises(InputError), open_source(io.BytesIO(head + tail)) as source:
        for _ in source.read():
            pass


def _box(kind: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack(">I", 8 + len(body) if length is None else length) + kind + body


STRUCTURES = {
    "whole": (Family.ISO, _box(b"ftyp") + _box(b"moov") + _box(b"mdat", b"1234"), None),
    "open end": (Family.ISO, _box(b"moov") + _box(b"mdat", b"1234", 0), None),
    "large size": (Family.ISO, _box(b"moov") + _box(b"mdat", struct.pack(">Q", 20) + b"1234", 1), None),
    "junk behind": (Family.ISO, _box(b"moov") + _box(b"mdat") + b"\xff" * 40, None),
    "cut box": (Family.ISO, _box(b"moov") + _box(b"mdat", b"1234", 999), "at least 1007 bytes, got 20"),
    "no index": (Family.ISO, _box(b"ftyp") + _box(b"mdat", b"1234"), "no moov"),
    "size below header": (Family.ISO, _box(b"moov") + _box(b"mdat", b"", 4), "impossible size"),
    "riff": (Family.AVI, b"RIFF" + struct.pack("<I", 8) + b"AVI 1234", None),
    "riff from a pipe": (Family.AVI, b"RIFF\xff\xff\xff\xffAVI 1234", None),
    "cut riff": (Family.AVI, b"RIFF" + struct.pack("<I", 80) + b"AVI 1234", "at least 88 bytes, got 16"),
    "ebml": (Family.MATROSKA, b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\x82\xec\x80", None),
    "cut ebml": (Family.MATROSKA, b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\x89\xec\x80", "at least 19 bytes"),
    "broken ebml": (Family.MATROSKA, b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\x83\x77\x77\x77", "structure"),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure(name: str) -> None:
    family, content, words = STRUCTURES[name]
    file = io.BytesIO(content)
    if words is None:
        check_complete(file, family)
        assert file.tell() == 0
    else:
        with pytest.raises(SourceCorrupt, match=words):
            check_complete(file, family)
