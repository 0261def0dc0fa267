"""Zones hold in released pictures and films, each for its camera; what keeps is told by report and log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sealed_workshop import RunVeilbox

pytestmark = pytest.mark.sealed

POLICY = """
version = 1
[[zones]]
camera = "*/door.*"
points = [[0, 0], [0.25, 0], [0.25, 1], [0, 1]]
[[zones]]
camera = "*/yard.*"
size = [512, 512]
points = [[128, 20], [320, 20], [320, 300], [128, 300]]
keep = true
"""


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    from skimage import data  # noqa: PLC0415 - slow to import

    return np.asarray(cast("Any", data).astronaut())


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def test_each_camera_s_zones_hold_in_its_pictures(
    veilbox: RunVeilbox, portrait: NDArray[np.uint8], policy: Path, tmp_path: Path
) -> None:
    sources, out = tmp_path / "in", tmp_path / "out"
    sources.mkdir()
    for name in ("door.png", "yard.png", "hall.png"):
        Image.fromarray(portrait).save(sources / name)
    ran = veilbox("anonymize", sources, "-o", out, "--policy", policy, "--json", "--quiet")
    assert ran.status == 0, ran.stderr
    told = {Path(output["path"]).name: output for output in ran.json["outputs"]}
    door, yard, hall = (pixels(out / name) for name in ("door.png", "yard.png", "hall.png"))
    assert (door[:, :128] == 0).all()
    assert (door[:, 140:] == hall[:, 140:]).all()
    assert (yard == portrait).all()
    assert not (hall == portrait).all()
    assert {name: (output["kept"], output["counts"]) for name, output in told.items()} == {
        "door.png": (0, {"face": 1}),
        "yard.png": (1, {}),
        "hall.png": (0, {"face": 1}),
    }
    assert ran.json["warnings"] == ["keeps-zones"]
    assert ran.json["policy"]["zones"][1]["keep"] is True


def test_a_zone_holds_in_every_frame_of_a_film(
    veilbox: RunVeilbox, portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    source, output = tmp_path / "film.mp4", tmp_path / "out.mp4"
    with av.open(str(source), "w") as made:
        stream = made.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for shift in range(20):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(portrait[:320, shift : shift + 320]), "rgb24")
            made.mux(stream.encode(frame))
        made.mux(stream.encode())
    zone = "320x320 160,200 320,200 320,320 160,320"
    ran = veilbox("anonymize", source, "-o", output, "--zone", zone, "--style", "blur", "--json", "--quiet")
    assert ran.status == 0, ran.stderr
    assert ran.json["outputs"][0]["verification"]["findings"] == []
    assert ran.json["warnings"] == []
    with av.open(str(output)) as opened:
        frames = [frame.to_ndarray(format="gray") for frame in opened.decode(video=0)]
    assert len(frames) == 20
    for seen in frames:
        assert seen[202:, 162:].max() <= 24
        assert seen[240:, :150].max() > 100
