"""The adversary in its containers: it links what is not hidden, and guesses where all is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from sealed_workshop import RunVeilbox

pytestmark = pytest.mark.sealed

PEOPLE = 20


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of Labeled Faces in the Wild, 25 x 25 pixels each, as scikit-image ships them; enlarged."""
    from skimage import data  # noqa: PLC0415 - slow to import

    folder = tmp_path_factory.mktemp("crops")
    for number, face in enumerate(cast("Any", data).lfw_subset()[:PEOPLE]):
        picture = Image.fromarray((np.clip(face, 0, 1) * 255).round().astype(np.uint8))
        picture.resize((100, 100)).save(folder / f"{number}.png")
    return folder


def test_solid_is_at_chance_and_nothing_hidden_is_always_linked(veilbox: RunVeilbox, crops: Path) -> None:
    run = veilbox("attack", crops, "--whole", "--json", "--quiet")
    assert run.status == 0, run.stderr
    found = run.json
    assert (found["pictures"], found["people"]) == (PEOPLE, PEOPLE)
    rates = {(one["style"], one["cells"], one["adversary"]): one for one in found["rates"]}
    assert rates["none", 0, "pixels"]["rate"] > 0.9
    for adversary in ("pixels", "eigenfaces"):
        assert rates["pixelate", 8, adversary]["rate"] > 5 / PEOPLE
        assert rates["solid", 0, adversary]["rate"] == pytest.approx(1 / PEOPLE)


def test_too_few_faces_are_said(veilbox: RunVeilbox, crops: Path) -> None:
    run = veilbox("attack", crops / "0.png", "--whole")
    assert run.status == 2
    assert "too few faces" in run.stderr
