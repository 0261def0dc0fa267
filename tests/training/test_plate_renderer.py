"""Drawn plates: every style, exact labels, the same for the same seed. Typefaces may be absent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plates.backgrounds import Photograph, film_and_second, load_labelled, load_packaged, split_by_time
from plates.fonts import ROLES, FontBook
from plates.renderer import PLATE_ROWS, PlateRenderer, bounds_of, paste, quad_of
from plates.samples import Recipe, SampleMaker, cut, distract, expose, paint_out
from plates.styles import STYLES, Style
from plates.targets import targets_of

NO_FONTS = FontBook([])


def photograph(name: str = "a.mp4#t=1.jpg") -> Photograph:
    random = np.random.default_rng(3)
    picture = random.integers(0, 256, (288, 512, 3), np.uint8)
    return Photograph(name, picture, np.array([[200.0, 150.0, 260.0, 166.0]]))


def maker(*, replaced: float = 0.5, extra: float = 0.5) -> SampleMaker:
    recipe = Recipe(side=128, widest=90, replaced=replaced, extra=extra)
    return SampleMaker([photograph()], [], NO_FONTS, recipe)


def test_a_role_without_a_face_still_draws() -> None:
    assert [NO_FONTS.faces(role) for role in ROLES] == [1] * len(ROLES)
    assert NO_FONTS.face("thai", 5, 20).getbbox("A")[2] > 0


@pytest.mark.parametrize("style", STYLES, ids=[style.name for style in STYLES])
def test_every_style_draws_something_to_read(style: Style) -> None:
    plate = PlateRenderer(NO_FONTS).draw(np.random.default_rng(11), style)
    rows, columns, components = plate.picture.shape
    assert (rows, components, plate.style) == (PLATE_ROWS, 4, style.name)
    assert 0.9 * min(style.aspects) < columns / rows < 1.1 * max(style.aspects)
    assert plate.picture[rows // 2, columns // 2, 3] == 255
    middle = plate.picture[rows // 4 : -rows // 4, columns // 8 : -columns // 8, :3].astype(float)
    assert middle.std() > 8


def test_names_of_styles_differ() -> None:
    assert len({style.name for style in STYLES}) == len(STYLES)


@pytest.mark.parametrize("seed", range(8))
def test_the_label_is_where_the_pixels_are(seed: int) -> None:
    random = np.random.default_rng(seed)
    quad = quad_of((120, 80), 90, 30, random)
    canvas = np.zeros((160, 240, 3), np.uint8)
    paste(canvas, np.full((96, 300, 4), 255, np.uint8), quad, random)
    rows, columns = np.nonzero(canvas.max(axis=2) > 127)
    seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert bounds_of(quad, 240, 160) == pytest.approx(seen, abs=1.6)


def test_a_plate_beyond_the_border_changes_nothing_and_one_across_it_is_cut() -> None:
    random = np.random.default_rng(1)
    canvas = np.zeros((40, 60, 3), np.uint8)
    white = np.full((96, 200, 4), 255, np.uint8)
    paste(canvas, white, quad_of((500, 20), 40, 10, random), random)
    assert not canvas.any()
    quad = quad_of((60, 20), 40, 10, random, tilt=0)
    paste(canvas, white, quad, random)
    assert bounds_of(quad, 60, 40).tolist() == pytest.approx([40, 15, 60, 25])
    assert canvas[20, 55:].min() > 200


def test_a_seed_repeats_a_sample_exactly() -> None:
    first, second = (maker().make(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.picture, second.picture)
    assert np.array_equal(first.boxes, second.boxes)
    other = maker().make(np.random.default_rng(6))
    assert not np.array_equal(first.picture, other.picture)


@pytest.mark.parametrize("seed", range(12))
def test_a_samples_labels_lie_inside_and_are_large_enough(seed: int) -> None:
    made = maker(extra=1.0, replaced=0.5 + 0.5 * (seed % 2))
    sample = made.make(np.random.default_rng(seed))
    assert sample.picture.shape == (128, 128, 3)
    assert sample.picture.dtype == np.uint8
    for boxes in (sample.boxes, sample.ignored):
        assert (boxes >= 0).all()
        assert (boxes <= 128).all()
    size = sample.boxes[:, 2:] - sample.boxes[:, :2]
    assert (size >= (9, 4)).all()


def test_a_cut_brings_its_plate_along() -> None:
    for seed in range(10):
        canvas, boxes, unsure = cut(photograph(), Recipe(side=128, squashed=0), np.random.default_rng(seed))
        assert canvas.shape == (128, 128, 3)
        assert canvas.flags.writeable
        assert not len(unsure)
        for box in boxes:
            assert (box[2] - box[0]) / (box[3] - box[1]) == pytest.approx(60 / 16)


def test_what_may_be_a_plate_moves_with_the_cut_and_counts_neither_way() -> None:
    same = replace(photograph(), unsure=photograph().boxes)
    _, boxes, unsure = cut(same, Recipe(side=128, squashed=0), np.random.default_rng(3))
    assert len(boxes)
    assert unsure == pytest.approx(boxes)
    bare = replace(same, boxes=np.zeros((0, 4)))
    unlabelled = SampleMaker([bare], [], NO_FONTS, Recipe(side=128, extra=0, distracted=0))
    samples = [unlabelled.make(np.random.default_rng(seed)) for seed in range(20)]
    assert not any(len(sample.boxes) for sample in samples)
    assert any(len(sample.ignored) for sample in samples)


def test_what_looks_like_a_plate_is_drawn_at_every_size_and_changes_the_picture() -> None:
    seen = []
    for seed in range(300):
        canvas = np.full((128, 128, 3), 90, np.uint8)
        distract(canvas, np.zeros((0, 4)), NO_FONTS, np.random.default_rng(seed))
        seen.append(bool((canvas != 90).any()))
    assert sum(seen) > 290


def test_painting_out_leaves_nothing_of_a_plate() -> None:
    canvas = np.full((64, 64, 3), 50, np.uint8)
    canvas[30:36, 20:40] = 250
    paint_out(canvas, np.array([20.0, 30.0, 40.0, 36.0]), np.random.default_rng(0))
    assert canvas.max() < 80


def test_a_camera_changes_pixels_and_nothing_else() -> None:
    canvas = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    for seed in range(10):
        seen = expose(canvas, Recipe(), np.random.default_rng(seed))
        assert seen.shape == canvas.shape
        assert seen.dtype == np.uint8


class TestTargets:
    def test_a_plate_has_one_hottest_cell_and_its_box(self) -> None:
        box = np.array([[40.0, 60.0, 104.0, 76.0]])
        made = targets_of(box, np.zeros((0, 4)), side=128, cell=8)
        assert np.argwhere(made.heat == 1).tolist() == [[8, 9]]
        assert made.weight.sum() == pytest.approx(1)
        assert made.boxes[:, 8, 9].tolist() == pytest.approx((box[0] / 8).tolist())
        assert made.counts.min() == 1

    def test_what_is_ignored_does_not_count_but_a_plate_beside_it_does(self) -> None:
        small = np.array([[80.0, 80.0, 96.0, 88.0]])
        made = targets_of(np.zeros((0, 4)), small, side=128, cell=8)
        assert (made.heat.max(), made.weight.max(), made.counts[10, 10], made.counts[0, 0]) == (0, 0, 0, 1)
        both = targets_of(small, small, side=128, cell=8)
        assert both.counts[10, 11] == 1

    def test_the_smaller_one_wins_a_shared_cell(self) -> None:
        boxes = np.array([[60.0, 60.0, 68.0, 68.0], [0.0, 0.0, 128.0, 128.0]])
        made = targets_of(boxes, np.zeros((0, 4)), side=128, cell=8)
        assert made.boxes[:, 8, 8].tolist() == pytest.approx((boxes[0] / 8).tolist())


class TestPhotographs:
    def test_labels_are_read(self, tmp_path: Path) -> None:
        Image.new("RGB", (20, 10), (1, 2, 3)).save(tmp_path / "b.png")
        Image.new("L", (20, 10), 9).save(tmp_path / "a.png")
        labels = {
            "images": [{"id": 1, "file_name": "b.png"}, {"id": 2, "file_name": "a.png"}],
            "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}],
        }
        (tmp_path / "labels.json").write_text(json.dumps(labels))
        first, second = load_labelled(tmp_path)
        assert (first.name, first.boxes.shape, first.picture.shape) == ("a.png", (0, 4), (10, 20, 3))
        assert second.boxes.tolist() == [[1, 2, 4, 6]]

    @pytest.mark.parametrize(
        ("name", "expected"),
        [("ride.mp4#t=12.jpg", ("ride.mp4", 12)), ("ride.jpg", ("ride.jpg", 0)), ("#t=x.jpg", ("#t=x.jpg", 0))],
    )
    def test_names_tell_film_and_second(self, name: str, expected: tuple[str, int]) -> None:
        assert film_and_second(name) == expected

    def test_a_films_end_validates(self) -> None:
        films = [photograph(f"{film}#t={second}.jpg") for second in (100, 9, 20, 30) for film in ("a", "b")] * 5
        training, validation = split_by_time(films)
        assert len(training) + len(validation) == len(films)
        assert {film_and_second(member.name)[1] for member in validation} == {100}
        assert {film_and_second(member.name)[0] for member in validation} == {"a", "b"}

    def test_packaged_photographs_have_no_plates(self) -> None:
        packaged = load_packaged()
        assert packaged
        assert all(not len(member.boxes) for member in packaged)
