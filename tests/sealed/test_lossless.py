"""A photograph through a whole job: where nothing is hidden every coefficient is the source's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sealed_workshop import RunVeilbox
from skimage import data

from veilbox.media.libjpeg import CodedPicture, plain_jpeg, read_coefficients

pytestmark = pytest.mark.sealed

# Pillow's options; the astronaut has one face.
PHOTOGRAPHS: dict[str, dict[str, Any]] = {
    "plain.jpg": {"subsampling": 2},
    "progressive.jpeg": {"subsampling": 0, "progressive": True},
    "gray.jpg": {},
    "odd.jpg": {"subsampling": 2},
    "turned.jpg": {"subsampling": 2},
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lossless") / "photographs"
    folder.mkdir()
    portrait = Image.fromarray(cast("Any", data).astronaut())
    for name, options in PHOTOGRAPHS.items():
        picture = portrait.crop((0, 0, 491, 395)) if name == "odd.jpg" else portrait
        exif = Image.Exif()
        if name == "turned.jpg":
            picture, exif[0x0112] = picture.transpose(Image.Transpose.ROTATE_90), 6
        picture.convert("L" if name == "gray.jpg" else "RGB").save(folder / name, quality=92, exif=exif, **options)
    return folder


@pytest.fixture(scope="module")
def made(veilbox: RunVeilbox, photographs: Path) -> dict[str, Any]:
    """One job's report of each output, by name."""
    run = veilbox("anonymize", photographs, "-o", photographs.parent / "out", "--json")
    assert run.status == 0, run.stderr
    return {Path(one["path"]).name: one for one in run.json["outputs"]}


def _coefficients(path: Path) -> CodedPicture:
    plain = plain_jpeg(path.read_bytes())
    assert plain is not None
    picture = read_coefficients(plain)
    assert picture is not None
    return picture


def _changed(source: CodedPicture, output: CodedPicture) -> list[NDArray[np.bool_]]:
    return [np.asarray((a != b).any(axis=(2, 3)), np.bool_) for a, b in zip(source.planes, output.planes, strict=True)]


@pytest.mark.parametrize("name", [name for name in PHOTOGRAPHS if name != "turned.jpg"])
def test_only_blocks_with_something_hidden_change(photographs: Path, made: dict[str, Any], name: str) -> None:
    report = made[name]
    source, output = _coefficients(photographs / name), _coefficients(Path(report["path"]))
    assert output.kind == source.kind
    changed = _changed(source, output)
    assert report["counts"] == {"face": 1}
    assert report["blocks"] == sum(plane.size for plane in changed)
    assert 0 < sum(int(plane.sum()) for plane in changed) <= report["recoded"] < report["blocks"] / 4
    for plane in changed:  # one box, and the last row and column where they reach over the edge
        rows, columns = np.nonzero(plane[:-1, :-1])
        inside = plane[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert inside[1:-1, 1:-1].mean() > 0.9
        assert inside.size < plane.size / 4


def test_a_turned_photograph_stays_what_it_was_outside_the_face(photographs: Path, made: dict[str, Any]) -> None:
    with Image.open(photographs / "turned.jpg") as source, Image.open(made["turned.jpg"]["path"]) as output:
        assert output.getexif() == {}
        apart = np.abs(np.asarray(ImageOps.exif_transpose(source)).astype(int) - np.asarray(output)).max(axis=2)
    # A turned block's samples are rounded otherwise; coded anew they would differ by much more.
    assert made["turned.jpg"]["recoded"] > 0
    assert np.sort(apart[260:].ravel())[-1] <= 6


def test_re_encode_codes_everything_anew(veilbox: RunVeilbox, photographs: Path, tmp_path: Path) -> None:
    source = photographs / "plain.jpg"
    run = veilbox("anonymize", source, "-o", tmp_path / "plain.jpg", "--re-encode", "--json")
    assert run.status == 0, run.stderr
    (report,) = run.json["outputs"]
    assert (report["blocks"], report["recoded"]) == (0, 0)
    assert run.json["policy"]["encoding"]["re_encode"] is True
    changed = _changed(_coefficients(source), _coefficients(tmp_path / "plain.jpg"))
    assert changed[0].mean() > 0.1
