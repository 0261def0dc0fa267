"""Raw frames, planted into finished outputs behind export's back, are found by the real verify and held back.

Each planted file is what export would have made of the same frames: encoded by the same encoder with the same settings,
so nothing but pixels tells of the plant.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sealed_workshop import RunVeilbox
from skimage import data

from veilbox.core.policy import Encoding
from veilbox.core.stream import Kind, StreamInfo
from veilbox.media.encoder import open_encoder

pytestmark = pytest.mark.sealed

Pixels = NDArray[np.uint8]
WIDTH, HEIGHT = 640, 360
# How long the films are; the one with the largest face is as long as the issue asks.
LENGTHS = {"middle.mp4": 300, "corner.mp4": 36, "small.mp4": 36, "stranger.mp4": 36, "honest.mp4": 36}
# No second look falls on this frame.
RAW = 31
INFO = StreamInfo(
    kind=Kind.FILM, width=WIDTH, height=HEIGHT, pixel_format="yuv420p", time_base=(1, 25), frame_rate=(25, 1)
)
# Film: left, top and side of its face.
FACES = {"middle.mp4": (180, 60, 240), "corner.mp4": (0, 0, 140), "small.mp4": (500, 250, 48)}
STRANGER = "stranger.mp4"


def portrait(side: int) -> Pixels:
    """The astronaut's, public domain."""
    face = Image.fromarray(cast("Any", data).astronaut()[20:276, 96:352])
    return np.asarray(face.resize((side, side)))


def scene(*places: tuple[int, int, int]) -> Pixels:
    frame = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
    for left, top, side in places:
        frame[top : top + side, left : left + side] = portrait(side)
    return frame


def write(path: Path, frames: Sequence[Pixels]) -> None:
    """As export does."""
    with path.open("w+b") as file, open_encoder(file, "mp4", INFO, Encoding(), threads=2) as encoder:
        for number, frame in enumerate(frames):
            planar = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p").to_ndarray()
            encoder.write(memoryview(planar.tobytes()), number, 1)


def frames_of(path: Path) -> list[Pixels]:
    with av.open(str(path)) as film:
        return [cast("Pixels", frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)]


def run_planted(folder: Path, sources: Path, output: Path, *options: str) -> dict[str, Any]:
    """Run a job each of whose outputs is exchanged for the file of its name in a folder."""
    driver = Path(__file__).with_name("planting.py")
    finished = subprocess.run(
        [sys.executable, driver, folder, "anonymize", sources, "-o", output, "--json", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert finished.returncode in {0, 9}, finished.stdout + finished.stderr
    report: dict[str, Any] = json.loads(finished.stdout)
    return report


@pytest.fixture(scope="module")
def report(veilbox: RunVeilbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A job over films of one face each; one frame of the source's is planted in some, a second face in one."""
    root = tmp_path_factory.mktemp("planted")
    sources, planted = root / "sources", root / "planted"
    sources.mkdir()
    planted.mkdir()
    for name, length in LENGTHS.items():
        write(sources / name, [scene(FACES.get(name, FACES["corner.mp4"]))] * length)
    run = veilbox("anonymize", sources, "-o", root / "honest", "--json", timeout_s=300)
    assert run.status == 0, run.stderr
    assert run.json["counts"] == {"face": len(LENGTHS)}
    for path in sorted((root / "honest").iterdir()):
        frames = frames_of(path)
        if path.name in FACES:
            frames[RAW] = scene(FACES[path.name])
        if path.name == STRANGER:  # beside the cover, where nobody was hidden
            frames = [_beside(frame) for frame in frames]
        write(planted / path.name, frames)
    return run_planted(planted, sources, root / "out")


def _beside(frame: Pixels) -> Pixels:
    seen = frame.copy()
    seen[150:310, 400:560] = portrait(160)
    return seen


def _failure(report: dict[str, Any], name: str) -> dict[str, Any]:
    (failure,) = [one for one in report["failures"] if Path(one["source"]).name == name]
    return cast("dict[str, Any]", failure)


@pytest.mark.parametrize("name", FACES)
def test_one_raw_frame_is_held_back(report: dict[str, Any], name: str) -> None:
    failure = _failure(report, name)
    assert (failure["error"], failure["verification"]["verdict"]) == ("OutputQuarantined", "quarantine")
    (finding,) = failure["verification"]["findings"]
    assert (finding["kind"], finding["count"], finding["first"], finding["last"]) == ("uncovered", 1, RAW, RAW)
    assert Path(failure["quarantine"]).is_file()


def test_a_face_that_nobody_told_of_is_found_by_the_second_look(report: dict[str, Any]) -> None:
    failure = _failure(report, STRANGER)
    assert failure["error"] == "OutputQuarantined"
    (finding,) = failure["verification"]["findings"]
    assert (finding["kind"], finding["what"], finding["count"]) == ("residual", "face", 3)


def test_what_was_only_encoded_again_is_released(report: dict[str, Any]) -> None:
    """Or the findings above would say nothing."""
    (released,) = report["outputs"]
    assert Path(released["path"]).name == "honest.mp4"
    assert released["verification"]["findings"] == []


def drawn_plate(width: int, height: int) -> Image.Image:
    plate = Image.new("RGB", (width, height), (245, 245, 245))
    draw = ImageDraw.Draw(plate)
    draw.rectangle((0, 0, width - 1, height - 1), outline=(20, 20, 20), width=max(1, height // 16))
    draw.rectangle((1, 1, width // 10, height - 2), fill=(20, 60, 160))
    font = ImageFont.load_default(size=int(height * 0.68))
    draw.text((width // 7, height // 10), "B 123 XYZ", fill=(15, 15, 15), font=font)
    return plate


def car(*places: tuple[int, int]) -> Pixels:
    """A red box with a window, and plates on it."""
    frame = Image.fromarray(scene())
    draw = ImageDraw.Draw(frame)
    draw.rectangle((150, 60, 500, 300), fill=(110, 30, 30))
    draw.rectangle((180, 80, 470, 150), fill=(40, 50, 60))
    for place in places:
        frame.paste(drawn_plate(120, 27), place)
    return np.asarray(frame)


def test_plates_are_looked_at_twice_like_faces(veilbox: RunVeilbox, tmp_path: Path) -> None:
    """One is raw in one frame; beside another stands one that nobody told of."""
    sources, planted = tmp_path / "sources", tmp_path / "planted"
    sources.mkdir()
    planted.mkdir()
    for name in ("flashed.mp4", "stranger.mp4"):
        write(sources / name, [car((260, 220))] * 36)
    run = veilbox("anonymize", sources, "-o", tmp_path / "honest", "--json", "--hide", "plate")
    assert run.status == 0, run.stderr
    for path in sorted((tmp_path / "honest").iterdir()):
        frames = frames_of(path)
        if path.name == "flashed.mp4":
            frames[31] = car((260, 220))
        else:
            frames = [_second_plate(frame) for frame in frames]
        write(planted / path.name, frames)
    report = run_planted(planted, sources, tmp_path / "out", "--hide", "plate")
    (flashed,) = _failure(report, "flashed.mp4")["verification"]["findings"]
    assert (flashed["kind"], flashed["first"], flashed["last"]) == ("uncovered", 31, 31)
    (stranger,) = _failure(report, "stranger.mp4")["verification"]["findings"]
    assert (stranger["kind"], stranger["what"], stranger["count"]) == ("residual", "plate", 3)
    assert {one["error"] for one in report["failures"]} == {"OutputQuarantined"}


def _second_plate(frame: Pixels) -> Pixels:
    seen = Image.fromarray(frame)
    seen.paste(drawn_plate(120, 27), (220, 265))
    return np.asarray(seen)
