"""Films and pictures made for the tests of `veilbox.media`, and what FFmpeg's own tools see in them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from veilbox.core.metadata import Metadata, MetadataField
from veilbox.core.policy import Encoding
from veilbox.core.stream import StreamInfo
from veilbox.media.encoder import open_encoder
from veilbox.media.libjpeg import CodedPicture, plain_jpeg, read_coefficients
from veilbox.media.source import AudioPacket, open_source
from veilbox.media.structure import Allowed, examine

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="needs the ffmpeg and ffprobe programs"
)


def make(path: Path, *arguments: str, size: str = "160x120", rate: str = "25", seconds: str = "1") -> Path:
    """A test film; `arguments` go behind the input."""
    # testsrc2 itself draws even sizes only
    width, height = (int(side) for side in size.split("x"))
    odd = f",scale={size}:flags=neighbor,format=yuv444p" if width % 2 or height % 2 else ""
    source = f"testsrc2=size={width + width % 2}x{height + height % 2}:rate={rate}:duration={seconds}{odd}"
    form = () if "-pix_fmt" in arguments or "libx264rgb" in arguments else ("-pix_fmt", "yuv420p")
    run("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *form, *arguments, str(path))
    return path


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def probe(path: Path, *, frames: bool = True) -> dict[str, Any]:
    """What ffprobe says of the first video stream."""
    shown = ["-show_streams", "-show_format", "-show_chapters", *(["-show_frames"] if frames else [])]
    text = run("ffprobe", "-v", "error", "-select_streams", "v:0", *shown, "-of", "json", str(path))
    parsed: dict[str, Any] = json.loads(text)
    return parsed


@dataclass
class Copy:
    """A film that went through decoder and encoder unchanged."""

    info: StreamInfo
    path: Path
    frames: list[bytes]
    times: list[Fraction]
    durations: list[Fraction]
    audio: list[AudioPacket]


def read_all(path: Path, *, keep_audio: bool = False) -> Copy:
    frames: list[bytes] = []
    times: list[Fraction] = []
    durations: list[Fraction] = []
    audio: list[AudioPacket] = []
    with path.open("rb") as file, open_source(file, keep_audio=keep_audio) as source:
        buffer = memoryview(bytearray(source.info.layout.nbytes))
        unit = source.info.seconds_per_pts
        for item in source.read():
            if isinstance(item, AudioPacket):
                audio.append(item)
                continue
            item.copy_into(buffer)
            frames.append(bytes(buffer))
            times.append(item.pts * unit)
            durations.append(item.duration * unit)
        return Copy(source.info, path, frames, times, durations, audio)


def transcode(
    path: Path, target: Path, encoding: Encoding | None = None, *, keep_audio: bool = False, threads: int = 1
) -> Copy:
    """Every frame of one film into another, as ingest and export do it."""
    with path.open("rb") as file, open_source(file, keep_audio=keep_audio) as source, target.open("wb") as out:
        buffer = memoryview(bytearray(source.info.layout.nbytes))
        with open_encoder(out, target.suffix[1:], source.info, encoding, threads=threads) as encoder:
            for item in source.read():
                if isinstance(item, AudioPacket):
                    encoder.write_audio(item)
                else:
                    item.copy_into(buffer)
                    encoder.write(buffer, item.pts, item.duration)
    return read_all(target, keep_audio=keep_audio)


def through(content: bytes, suffix: str, allowed: Collection[MetadataField]) -> tuple[StreamInfo, bytes]:
    """Ingest and export of a source of which some metadata may stay."""
    made = io.BytesIO()
    with (
        open_source(io.BytesIO(content), output_suffix=suffix, metadata=allowed) as source,
        open_encoder(made, suffix, source.info) as encoder,
    ):
        buffer = memoryview(bytearray(source.info.frame_nbytes))
        for picture in source.read():
            assert not isinstance(picture, AudioPacket)
            picture.copy_into(buffer)
            encoder.write(buffer, picture.pts, picture.duration)
    return source.info, made.getvalue()


def told(content: bytes, allowed: Collection[MetadataField] = tuple(MetadataField)) -> Metadata:
    """What a source says about itself, as far as it may stay."""
    with open_source(io.BytesIO(content), metadata=allowed) as source:
        return source.info.metadata


def flaws(content: bytes, suffix: str, allowed: Collection[MetadataField]) -> list[str]:
    """What verify finds in the file's structure."""
    seen = examine(io.BytesIO(content), suffix, Allowed(metadata=frozenset(allowed)))
    return [f"{flaw.path}: {flaw.what}" for flaw in seen]


def coefficients(content: bytes) -> CodedPicture:
    """Of a JPEG file that must have some."""
    plain = plain_jpeg(content)
    assert plain is not None
    picture = read_coefficients(plain)
    assert picture is not None
    return picture
