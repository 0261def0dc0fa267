"""People and vehicles are hidden whole when they are asked for, by one container, in every style, and verify agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sealed_workshop import RunVeilbox

pytestmark = pytest.mark.sealed

# Where the person of the picture is, xyxy; her outline is no box.
BODY = (60, 60, 360, 420)


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skimage import data  # noqa: PLC0415 - slow to import

    path = tmp_path_factory.mktemp("person") / "astronaut.png"
    Image.fromarray(np.asarray(cast("Any", data).astronaut())).save(path)
    return path


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def changed(before: Path, after: Path, box: tuple[int, int, int, int]) -> float:
    """Share of a box's pixels that became others."""
    x1, y1, x2, y2 = box
    differs = (pixels(before) != pixels(after)).any(axis=2)
    return float(differs[y1:y2, x1:x2].mean())


@pytest.mark.parametrize("style", ["solid", "pixelate", "blur"])
@pytest.mark.parametrize("shape", ["box", "ellipse"])
def test_a_person_is_hidden_whole(veilbox: RunVeilbox, person: Path, tmp_path: Path, style: str, shape: str) -> None:
    output = tmp_path / "out.png"
    asked = ("--hide", "person", "--hide", "car", "--style", style, "--shape", shape)
    ran = veilbox("anonymize", person, "-o", output, *asked, "--json", "--quiet")
    assert ran.status == 0, ran.stderr
    assert [name for name in ran.json["components"] if name.startswith("detect-")] == ["detect-objects"]
    assert set(ran.json["counts"]) == {"person"}
    assert ran.json["outputs"][0]["verification"]["findings"] == []
    assert changed(person, output, BODY) >= 0.95


def test_a_face_in_a_person_is_a_thing_of_its_own(veilbox: RunVeilbox, person: Path, tmp_path: Path) -> None:
    reports = {}
    for classes in (("face",), ("person",), ("face", "person")):
        output = tmp_path / f"{'-'.join(classes)}.png"
        asked = [part for name in classes for part in ("--hide", name)]
        ran = veilbox("anonymize", person, "-o", output, *asked, "--json", "--quiet")
        assert ran.status == 0, ran.stderr
        reports[classes] = ran.json
        # Who hides faces keeps the person; who hides people hides their faces too.
        assert (changed(person, output, BODY) >= 0.95) is ("person" in classes)
        assert changed(person, output, (190, 90, 250, 170)) >= 0.95
    faces, people, both = (reports[one]["counts"] for one in reports)
    assert faces == {"face": 1}
    assert set(people) == {"person"}
    assert both == faces | people
