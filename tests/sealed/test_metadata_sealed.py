"""What `--metadata` lets stay, through a whole job: in the outputs, in the report, and on record in the log."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageCms
from sealed_workshop import RunVeilbox

pytestmark = pytest.mark.sealed

SUFFIXES = ("jpg", "png", "webp", "tif", "bmp")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "photographs"
    folder.mkdir()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif.update({0x010F: "Maker", 0x0110: "One", 0x013B: "A. Person", 0x0112: 6})
    exif.get_ifd(0x8769).update({0x9003: "2024:05:06 07:08:09", 0xA431: "SN 1", 0x927C: b"notes"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 36.0)})
    picture = Image.fromarray(np.random.default_rng(5).integers(0, 256, (96, 128, 3)).astype(np.uint8))
    for suffix in SUFFIXES:
        picture.save(folder / f"a.{suffix}", exif=exif, icc_profile=profile)
    return folder


# What each preset leaves of make, capture time, artist and serial number, and whether of a place.
PRESETS = {
    "none": (None, None, None, None, False),
    "orientation-and-colour": (None, None, None, None, False),
    "research": ("Maker", "2024:05:06 07:00:00", None, None, False),
    "keep": ("Maker", "2024:05:06 07:08:09", "A. Person", "SN 1", True),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_in_a_job(veilbox: RunVeilbox, photographs: Path, tmp_path: Path, preset: str) -> None:
    run = veilbox("anonymize", photographs, "-o", tmp_path / "out", "--metadata", preset, "--json")
    assert run.status == 0, run.stderr
    make, moment, artist, serial, place = PRESETS[preset]
    for suffix in ("jpg", "png", "webp"):
        with Image.open(tmp_path / "out" / f"a.{suffix}") as image:
            exif, inner = image.getexif(), image.getexif().get_ifd(0x8769)
            assert image.size == (96, 128)
            assert (exif.get(0x010F), inner.get(0x9003), exif.get(0x013B), inner.get(0xA431)) == (
                make,
                moment,
                artist,
                serial,
            )
            assert bool(exif.get_ifd(0x8825)) == place
            assert 0x927C not in inner
            assert 0x0112 not in exif
            profile = image.info.get("icc_profile")
            assert (profile is None) == (preset == "none")
            assert (
                profile is None or ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip() == "RGB"
            )
    _on_record(veilbox, run.json, preset)


def _space(profile: bytes) -> str:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()


def _on_record(veilbox: RunVeilbox, report: Any, preset: str) -> None:
    outputs = {Path(one["path"]).suffix[1:]: one["verification"]["metadata"] for one in report["outputs"]}
    expected = {
        "none": [],
        "orientation-and-colour": ["colour-profile"],
        "research": ["colour-profile", "capture-hour", "camera"],
        "keep": ["colour-profile", "capture-time", "camera", "author", "serial-number", "position"],
    }[preset]
    tiff = [field for field in expected if field in ("colour-profile", "camera", "author")]
    assert outputs == dict.fromkeys(("jpg", "png", "webp"), expected) | {"tif": tiff, "bmp": []}
    warned = preset == "keep"
    assert report["warnings"] == (["keeps-metadata"] if warned else [])
    told = veilbox("audit", "show", "--job", report["job"]).stdout
    assert ("keeps-metadata" in told) == warned
    assert ("capture-hour" in told) == (preset == "research")


def test_films_in_a_job(veilbox: RunVeilbox, tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for suffix in ("mp4", "mkv"):
        with av.open(str(films / f"a.{suffix}"), "w") as film:
            words = {
                "creation_time": "2024-05-06T07:08:09Z",
                "make": "Maker",
                "artist": "A. Person",
                "comment": "notes",
            }
            film.metadata.update(words)
            if suffix == "mp4":  # which FFmpeg gives no make
                film.metadata["title"] = "a title"
            stream = film.add_stream("libx264", rate=25, width=128, height=96, pix_fmt="yuv420p")
            for _ in range(5):
                film.mux(stream.encode(av.VideoFrame(128, 96, "yuv420p")))
            film.mux(stream.encode(None))
    run = veilbox("anonymize", films, "-o", tmp_path / "out", "--metadata", "research", "--json")
    assert run.status == 0, run.stderr
    outputs = {Path(one["path"]).suffix[1:]: one["verification"]["metadata"] for one in run.json["outputs"]}
    assert outputs == {"mp4": ["capture-hour"], "mkv": ["capture-hour", "camera"]}
    for suffix in outputs:
        with av.open(str(tmp_path / "out" / f"a.{suffix}")) as film:
            assert film.metadata.get("creation_time") == "2024-05-06T07:00:00.000000Z"
            assert film.metadata.get("MAKE") == ("Maker" if suffix == "mkv" else None)
            assert not {"artist", "ARTIST", "comment", "COMMENT", "title"} & set(film.metadata)


def test_an_unknown_field_is_refused(veilbox: RunVeilbox, photographs: Path, tmp_path: Path) -> None:
    run = veilbox("anonymize", photographs, "-o", tmp_path / "out", "--metadata", "gps")
    assert run.status == 2
    assert "no such field of metadata" in run.stderr
    assert not (tmp_path / "out").exists()
