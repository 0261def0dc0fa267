"""Sources for the tests that run the whole program, and what FFmpeg's own tools see in what came out."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="needs the ffmpeg and ffprobe programs"
)
needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs the exiftool program")

X264 = ("-c:v", "libx264", "-preset", "ultrafast")


def tool(*command: str | Path) -> str:
    """Run a program of the machine's; what it prints."""
    finished = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def film(path: Path, *arguments: str, size: str = "320x240", rate: str = "25", seconds: str = "1") -> None:
    """A test film; `arguments` go behind the input."""
    form = () if "-pix_fmt" in arguments else ("-pix_fmt", "yuv420p")
    width, height = (int(side) for side in size.split("x"))
    # testsrc2 draws even sizes only, and scaling would make up a sample aspect ratio.
    odd = f",format=yuv444p,scale={width}:{height},setsar=1" if width % 2 or height % 2 else ""
    source = f"testsrc2=size={width + width % 2}x{height + height % 2}:rate={rate}:duration={seconds}{odd}"
    tool("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *form, *arguments, f"file:{path}")


def probe(path: Path, *shown: str) -> dict[str, Any]:
    """ffprobe's sections, for example `-show_streams`."""
    # A path of its own kind: ffprobe takes no "--", and reads a colon as a protocol's name.
    text = tool("ffprobe", "-v", "error", *shown, "-of", "json", f"file:{path}")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def frame_times(path: Path) -> list[Fraction]:
    """When each frame of the first video stream shows, in seconds, exactly, in the order of showing."""
    asked = ("-select_streams", "v:0", "-show_entries")
    if path.suffix == ".avi":  # one clock, that of decoding; frames show in the same instants, in their own order
        shown = probe(path, *asked, "stream=time_base:packet=dts")
        ticks = sorted(packet["dts"] for packet in shown["packets"])
    else:
        shown = probe(path, *asked, "stream=time_base:frame=best_effort_timestamp")
        ticks = [frame["best_effort_timestamp"] for frame in shown["frames"]]
    return [tick * Fraction(shown["streams"][0]["time_base"]) for tick in ticks]


def digest(path: Path) -> str:
    """Of the whole file."""
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def files_below(folder: Path) -> set[Path]:
    """Everything below a folder that is no folder, hidden files included."""
    return {path for path in folder.rglob("*") if not path.is_dir()}
