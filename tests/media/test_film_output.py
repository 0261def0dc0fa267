"""What an encoded film holds besides its pictures: nothing, or the audio that was kept."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import pytest
from media_workshop import needs_ffmpeg, probe, read_all, run, transcode

from veilbox.core.errors import OutputError, UsageError
from veilbox.core.policy import Encoding
from veilbox.core.stream import Kind, StreamInfo
from veilbox.media.encoder import open_encoder
from veilbox.media.formats import FILM_FORMATS

X264 = ("-c:v", "libx264", "-preset", "ultrafast")
INFO = StreamInfo(
    kind=Kind.FILM, width=64, height=48, pixel_format="yuv420p", time_base=(1, 25), frame_rate=(25, 1), frames=3
)
FRAME = memoryview(bytes(INFO.layout.nbytes))
# What the programs would sign with, and what the source says about itself.
SECRETS = (b"x264 - core", b"x265", b"Lavc", b"Lavf6", b"Lavf5", b"secret", b"Secret", b"libx26", b"libvpx", b"SVT")


def _encode(suffix: str, encoding: Encoding | None = None, file: io.BytesIO | None = None) -> bytes:
    file = file or io.BytesIO()
    with open_encoder(file, suffix, INFO, encoding, threads=1) as encoder:
        for pts in range(3):
            encoder.write(FRAME, pts, 1)
    return file.getvalue()


COMBINATIONS = [(suffix, name) for suffix, fmt in FILM_FORMATS.items() for name in fmt.encoders]


@pytest.mark.parametrize(("suffix", "encoder"), COMBINATIONS)
def test_every_allowed_combination_works_signs_nothing_and_repeats(suffix: str, encoder: str) -> None:
    first, second = (_encode(suffix, Encoding(encoder=encoder)) for _ in range(2))
    assert [word for word in SECRETS if word in first] == []
    if suffix not in ("mkv", "webm") or encoder != "libsvtav1":
        assert first == second


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_metadata_chapters_subtitles_and_audio_are_dropped(tmp_path: Path, suffix: str) -> None:
    chapters = tmp_path / "chapters.txt"
    chapters.write_text(
        ";FFMETADATA1\ntitle=secret title\nlocation=+48.85+002.35/\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=secret chapter\n"
    )
    source = tmp_path / f"a.{suffix}"
    audio = ("-f", "lavfi", "-i", "sine=duration=1")
    tags = ("-map_metadata", "2", "-metadata", "artist=secret", "-metadata:s:v", "title=secret stream")
    film = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=1")
    run(
        *("ffmpeg", "-v", "error", "-y", *film, *audio, "-i", str(chapters), "-map", "0", "-map", "1"),
        *(*tags, *X264, "-c:a", "aac", str(source)),
    )
    assert b"secret" in source.read_bytes()
    made = transcode(source, tmp_path / f"out.{suffix}").path
    content, seen = made.read_bytes(), probe(made, frames=False)
    assert [word for word in SECRETS if word in content] == []
    assert seen["chapters"] == []
    assert seen["format"]["nb_streams"] == 1
    allowed = {"handler_name", "vendor_id", "language", "DURATION", "encoder"}
    assert set(seen["streams"][0].get("tags", {})) <= allowed
    forbidden = set(seen["format"].get("tags", {})) - {"major_brand", "minor_version", "compatible_brands", "encoder"}
    assert forbidden == set()


AUDIO = [
    ("mp4", "aac"),
    ("mp4", "libmp3lame"),
    ("mp4", "ac3"),
    ("mov", "pcm_s16le"),
    ("mov", "alac"),
    ("mkv", "aac"),
    ("mkv", "flac"),
    ("mkv", "libvorbis"),
    ("mkv", "pcm_s16le"),
    ("mkv", "libopus"),
    ("webm", "libopus"),
    ("avi", "libmp3lame"),
    ("avi", "pcm_s16le"),
]


@needs_ffmpeg
@pytest.mark.parametrize(("suffix", "codec"), AUDIO)
def test_kept_audio_is_copied(tmp_path: Path, suffix: str, codec: str) -> None:
    source = tmp_path / f"a.{suffix}"
    video = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8") if suffix == "webm" else X264
    run(
        *("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=1"),
        *("-f", "lavfi", "-i", "sine=duration=1:sample_rate=48000", *video, "-bf", "0", "-c:a", codec, "-ac", "2"),
        str(source),
    )
    before = read_all(source, keep_audio=True)
    after = transcode(source, tmp_path / f"out.{suffix}", keep_audio=True)
    assert before.info.audio is not None
    assert after.info.audio is not None
    assert after.info.audio.codec == before.info.audio.codec
    assert after.info.audio.channels == 2
    assert [p.payload for p in after.audio] == [p.payload for p in before.audio]
    assert after.times == before.times
    if codec != "libopus":
        unit = before.info.audio.time_base[0] / before.info.audio.time_base[1]
        made = after.info.audio.time_base[0] / after.info.audio.time_base[1]
        for there, here in zip(after.audio, before.audio, strict=True):
            assert there.pts * made == pytest.approx(here.pts * unit, abs=1.1e-3)  # Matroska's milliseconds
    assert run("ffmpeg", "-v", "error", "-i", str(after.path), "-f", "null", "-") == ""


REFUSED = [
    ("webm", Encoding(encoder="libx264"), "do not go together"),
    ("mp4", Encoding(encoder="ffv1"), "do not go together"),
    ("mp4", Encoding(preset="no-such"), "does not take"),
    ("mp4", Encoding(encoder="mpeg4", crf=20), "constant rate factor"),
    ("mp4", Encoding(encoder="mpeg4", preset="fast"), "no presets"),
    ("jpg", Encoding(), "cannot be written as a picture"),
    ("xyz", Encoding(), "suffix not handled"),
]


@pytest.mark.parametrize(("suffix", "encoding", "words"), REFUSED)
def test_what_cannot_work_is_a_usage_error(suffix: str, encoding: Encoding, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        _encode(suffix, encoding)


class FullDisk(io.BytesIO):
    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, content: object) -> int:
        if len(memoryview(content)) > self.room:  # type: ignore[arg-type]
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", sorted(FILM_FORMATS))
def test_a_full_disk_is_an_output_error(suffix: str) -> None:
    with pytest.raises(OutputError, match="the disk is full"):
        _encode(suffix, file=FullDisk(10))


def test_leaving_by_an_exception_writes_no_trailer() -> None:
    file = io.BytesIO()
    encoder = open_encoder(file, "mp4", INFO, threads=1)
    encoder.write(FRAME, 0, 1)
    encoder.__exit__(KeyError, KeyError(), None)
    del encoder
    assert b"moov" not in file.getvalue()


def test_closing_twice_is_closing_once() -> None:
    file = io.BytesIO()
    with open_encoder(file, "mp4", INFO, threads=1) as encoder:
        encoder.write(FRAME, 0, 1)
        encoder.close()
        size = len(file.getvalue())
        encoder.close()
    assert len(file.getvalue()) == size
