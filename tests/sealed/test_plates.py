"""Number plates are hidden when they are asked for, beside faces, by a container of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sealed_workshop import RunVeilbox

pytestmark = [pytest.mark.sealed, pytest.mark.footage]

DATA = Path(__file__).parents[3] / "shared" / "data"
Box = tuple[float, float, float, float]


@pytest.fixture(scope="module")
def plates() -> Path:
    if not (DATA / "plates").is_dir():
        pytest.skip("the labelled photographs are not here")
    return DATA / "plates"


def labels(folder: Path) -> dict[str, list[Box]]:
    document = json.loads((folder / "labels.json").read_text())
    names = {image["id"]: image["file_name"] for image in document["images"]}
    found: dict[str, list[Box]] = {name: [] for name in names.values()}
    for note in document["annotations"]:
        x, y, width, height = note["bbox"]
        found[names[note["image_id"]]].append((x, y, x + width, y + height))
    return found


def overlap(a: Box, b: Box) -> float:
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    shared = across * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def met(wanted: list[Box], found: list[Box]) -> int:
    return sum(any(overlap(box, other) >= 0.3 for other in found) for box in wanted)


def corners(result: dict[str, Any]) -> Box:
    x, y, width, height = result["bbox"]
    return x, y, x + width, y + height


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def test_labelled_plates_are_found(veilbox: RunVeilbox, plates: Path) -> None:
    ran = veilbox("detect", plates, "--hide", "plate", "--quiet")
    assert ran.status == 0, ran.stderr
    assert {result["category"] for result in ran.json} == {"plate"}
    assert {result["category_id"] for result in ran.json} == {2}
    wanted = labels(plates)
    found: dict[str, list[Box]] = {Path(name).name: [] for name in wanted}
    for result in ran.json:
        found[Path(result["file_name"]).name].append(corners(result))
    hits = sum(met(boxes, found[Path(name).name]) for name, boxes in wanted.items())
    # Measured: 45 of 47, with small pictures enlarged as ingest does for faces.
    assert hits / sum(map(len, wanted.values())) >= 0.85


def composed(folder: Path) -> tuple[Path, Box, Box]:
    """A portrait beside a labelled plate's surroundings; where the face and the plate are."""
    from skimage import data  # noqa: PLC0415 - slow to import

    face = np.asarray(cast("Any", data).astronaut())[:400, 60:400]
    name, boxes = next((name, boxes) for name, boxes in sorted(labels(DATA / "plates").items()) if len(boxes) == 1)
    street = pixels(DATA / "plates" / name)
    x1, y1, x2, y2 = boxes[0]
    canvas = np.full((max(400, len(street)), 340 + street.shape[1], 3), 96, np.uint8)
    canvas[:400, :340] = face
    canvas[: len(street), 340:] = street
    path = folder / "composed.png"
    Image.fromarray(canvas).save(path)
    return path, (125.0, 70.0, 200.0, 170.0), (340 + x1, y1, 340 + x2, y2)


def hidden(before: NDArray[np.uint8], after: NDArray[np.uint8], box: Box) -> float:
    x1, y1, x2, y2 = (round(value) for value in box)
    black = (after[y1:y2, x1:x2] == 0).all(axis=2)
    assert (before[y1:y2, x1:x2] != 0).any()
    return float(black.mean())


@pytest.mark.parametrize(
    ("classes", "containers", "gone"),
    [
        (("face",), {"detect-centerface"}, (True, False)),
        (("plate",), {"detect-plates"}, (False, True)),
        (("face", "plate"), {"detect-centerface", "detect-plates"}, (True, True)),
    ],
)
def test_what_is_asked_for_is_hidden_and_nothing_else(
    veilbox: RunVeilbox,
    plates: Path,
    tmp_path: Path,
    classes: tuple[str, ...],
    containers: set[str],
    gone: tuple[bool, bool],
) -> None:
    del plates
    source, face, plate = composed(tmp_path)
    output = tmp_path / "out.png"
    asked = [part for name in classes for part in ("--hide", name)]
    ran = veilbox("anonymize", source, "-o", output, *asked, "--json", "--quiet")
    assert ran.status == 0, ran.stderr
    assert {name for name in ran.json["components"] if name.startswith("detect-")} == containers
    assert set(ran.json["counts"]) == set(classes)
    before, after = pixels(source), pixels(output)
    for box, wanted in ((face, gone[0]), (plate, gone[1])):
        share = hidden(before, after, box)
        assert share >= 0.95 if wanted else share < 0.5
