"""Make veilbox's demo film: `python demo/film.py OUT.mp4` writes OUT.mp4 and the true faces to OUT.json.

10 s of 1280x720 at 30 frames a second in H.264 with a stereo AAC track. Same packages, same bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from numpy.typing import NDArray

from scene import FRAMES, HEIGHT, RATE, SECONDS, WIDTH, Face, coco, compose

SAMPLE_RATE = 48_000
# Samples of an AAC frame (ISO/IEC 14496-3); FFmpeg's encoder takes no other length.
_SAMPLES = 1024
# The audio track: a note a second, in hertz, an A minor chord. Nobody speaks in it.
_NOTES = (220.0, 261.63, 329.63, 440.0)
# What a camera writes and what must not survive. The place is the launch pad of the background.
METADATA = {"title": "veilbox demo", "artist": "A. Witness", "location": "+28.5618-080.5772/"}


def make_film(path: Path) -> dict[int, tuple[Face, ...]]:
    """Write the film; it appears under its name when it is complete.

    Args:
        path: Where; the folder exists.

    Returns:
        The true faces of every frame.
    """
    unfinished = path.with_name(f".{path.name}.part")
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with av.open(str(unfinished), "w", format="mp4", options=options) as film:
        film.metadata.update(METADATA)
        found = _write_streams(film)
    unfinished.replace(path)
    return found


def _write_streams(film: OutputContainer) -> dict[int, tuple[Face, ...]]:
    video = film.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "18", "threads": "2"})
    video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    audio = film.add_stream("aac", rate=SAMPLE_RATE, options={"flags": "+bitexact"})
    audio.layout = "stereo"
    sound, played = _sound(), 0
    found = {}
    for index in range(FRAMES):
        picture, found[index] = compose(index)
        film.mux(video.encode(_video_frame(picture, index)))
        due = (index + 1) * SAMPLE_RATE // RATE if index + 1 < FRAMES else sound.shape[1]
        while played < due:
            film.mux(audio.encode(_audio_frame(sound[:, played : played + _SAMPLES], played)))
            played += _SAMPLES
    film.mux(video.encode(None))
    film.mux(audio.encode(None))
    return found


def _video_frame(picture: NDArray[np.uint8], index: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame.pts, frame.time_base = index, Fraction(1, RATE)
    return frame


def _audio_frame(samples: NDArray[np.float32], start: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
    return frame


def _sound() -> NDArray[np.float32]:
    """(2, samples) float32 in [-1, 1]; the second channel is quieter, so that a swap would be heard."""
    t = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    note = np.asarray(_NOTES)[t.astype(np.int64) % len(_NOTES)]
    wave = 0.3 * np.sin(2 * np.pi * note * t) * np.exp(-2.0 * (t % 1.0))
    return np.stack([wave, 0.5 * wave]).astype(np.float32)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the film and its truth."""
    parser = argparse.ArgumentParser(description="Make the demo film and, beside it, its true faces as COCO JSON.")
    parser.add_argument("output", type=Path, metavar="OUT.mp4")
    output: Path = parser.parse_args(argv).output
    output.parent.mkdir(parents=True, exist_ok=True)
    found = make_film(output)
    output.with_suffix(".json").write_text(json.dumps(coco(found, output.name)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
