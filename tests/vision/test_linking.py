"""The adversary links what can be linked, and guesses where nothing is left."""

from __future__ import annotations

import numpy as np
import pytest

from veilbox.core.frame import FrameLayout
from veilbox.core.policy import Redaction, Style
from veilbox.core.regions import Regions
from veilbox.vision.linking import SIDE, Vectors, eigenfaces, face_vector, link
from veilbox.vision.redact import Redactor, planes_of

FORMATS = ["yuv420p", "yuv444p10le", "rgb24", "rgba", "gray", "gray16le", "ya8"]
BOX = (20.0, 10.0, 84.0, 74.0)


def vector(pixel_format: str, seed: int, redaction: Redaction | None = None) -> Vectors:
    """What is left of a picture of smooth noise."""
    layout = FrameLayout(101, 83, pixel_format)
    slot = bytearray(layout.nbytes)
    planes = planes_of(memoryview(slot), layout)
    generator = np.random.default_rng(seed)
    for plane in planes:
        rows, columns, components = plane.shape
        coarse = generator.integers(0, (1 << layout.format.depth) - 1, (8, 8, components))
        plane[...] = coarse[np.arange(rows)[:, None] * 8 // rows, np.arange(columns)[None] * 8 // columns]
    if redaction is not None:
        none = np.zeros(1, np.int32)
        regions = Regions(np.array([BOX], np.float32), none, none, none)
        Redactor(redaction).redact(planes, layout, regions, full_range=True)
    return face_vector(planes, layout, BOX)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_a_vector_is_three_small_pictures_of_the_full_scale(pixel_format: str) -> None:
    one = vector(pixel_format, 0)
    assert one.shape == (3 * SIDE * SIDE,)
    luma = one.reshape(SIDE, SIDE, 3)[..., 0]
    assert 0 <= luma.min() < luma.max() <= 1
    assert np.ptp(luma) > 0.2


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize(
    ("redaction", "least", "most"),
    [
        (None, 1, 1),
        (Redaction(style=Style.PIXELATE, cells=8), 0.9, 1),
        (Redaction(style=Style.BLUR, cells=8), 0.9, 1),
        (Redaction(style=Style.SOLID), 0.05, 0.05),
    ],
)
def test_solid_leaves_a_guess(pixel_format: str, redaction: Redaction | None, least: float, most: float) -> None:
    faces = np.stack([vector(pixel_format, seed, redaction) for seed in range(20)])
    numbers = np.arange(20)
    hits, trials, chance = link(faces, faces, numbers, numbers)
    assert trials == 20
    assert chance == pytest.approx(0.05)
    assert least - 1e-9 <= hits / trials <= most + 1e-9


def test_a_box_at_the_edge_or_outside_has_a_vector() -> None:
    layout = FrameLayout(5, 3, "yuv420p")
    planes = planes_of(memoryview(bytearray(layout.nbytes)), layout)
    for box in ((0, 0, 1, 1), (-9, -9, 9, 9), (4.5, 2.5, 5, 3), (50, 50, 60, 60), (-60, -60, -50, -50)):
        assert np.isfinite(face_vector(planes, layout, box)).all()


def test_a_person_who_is_not_in_the_gallery_is_no_trial() -> None:
    faces = np.eye(3, dtype=np.float32)
    assert link(faces, faces[:2], np.array([0, 1, 2]), np.array([0, 1])) == (2.0, 2, 0.5)


def test_neighbours_that_are_equally_near_share_the_hit() -> None:
    gallery = np.zeros((4, 2), np.float32)
    hits, trials, chance = link(gallery[:1], gallery, np.array([1]), np.array([0, 1, 1, 2]))
    assert (hits, trials, chance) == (0.5, 1, 0.5)


def test_roundings_of_a_matrix_product_link_nobody() -> None:
    hidden = np.stack([vector("yuv420p", seed, Redaction()) for seed in range(50)])
    mean, directions = eigenfaces(np.stack([vector("yuv420p", seed) for seed in range(50)]))
    seen = ((hidden - mean) @ directions.T).astype(np.float32)
    noisy = seen * (1 + np.random.default_rng(0).uniform(-1e-7, 1e-7, seen.shape).astype(np.float32))
    hits, trials, chance = link(seen, noisy, np.arange(50), np.arange(50))
    assert hits / trials == pytest.approx(chance)


def test_eigenfaces_tell_faces_apart_with_fewer_numbers() -> None:
    faces = np.stack([vector("yuv420p", seed) for seed in range(20)])
    mean, directions = eigenfaces(faces)
    assert directions.shape == (19, 3 * SIDE * SIDE)
    seen = ((faces - mean) @ directions.T).astype(np.float32)
    assert link(seen, seen, np.arange(20), np.arange(20))[0] == 20
    assert np.allclose(seen.std(axis=0), 1, atol=0.05)
