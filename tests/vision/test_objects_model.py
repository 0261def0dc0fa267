"""The object detector that the package carries finds what it is for, at its own size and in a large picture."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from veilbox.oci.image.definition import MODELS
from veilbox.orchestrate.plan import OBJECTS
from veilbox.vision.detect import Detector, load_detector


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(MODELS / "objects", threads=1)


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    from skimage import data  # noqa: PLC0415 - slow to import

    picture: NDArray[np.uint8] = cast("Any", data).astronaut()
    return picture


def overlap(box: NDArray[np.float32], other: list[float]) -> float:
    """Intersection over union."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    shared = float(np.maximum(high - low, 0).prod())
    area = float((box[2:] - box[:2]).prod()) + (other[2] - other[0]) * (other[3] - other[1])
    return shared / (area - shared)


def test_every_class_that_can_be_hidden_is_one_of_the_model_s(detector: Detector) -> None:
    assert set(OBJECTS) < set(detector.card.classes)
    assert len(detector.card.classes) == 80


def test_a_person_is_found_whole(detector: Detector, astronaut: NDArray[np.uint8]) -> None:
    found = detector.detect(astronaut)
    people = found.boxes[(found.classes == detector.card.classes.index("person")) & (found.scores >= 0.3)]
    assert overlap(people[0], [15, 10, 460, 512]) >= 0.6


def test_a_large_picture_is_seen_at_the_size_of_the_card(detector: Detector, astronaut: NDArray[np.uint8]) -> None:
    tall = np.full((1024, 1536, 3), 128, np.uint8)
    tall[512:, 64:576] = astronaut
    found = detector.detect(tall)
    people = found.boxes[(found.classes == 0) & (found.scores >= 0.3)]
    assert overlap(people[0], [79, 522, 524, 1024]) >= 0.5
