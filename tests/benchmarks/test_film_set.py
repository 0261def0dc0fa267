"""The film set is the same every time, and its truth is true."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from filmset.people import PEOPLE, person
from filmset.scripts import FRAMES, scripts
from filmset.stage import MARGIN, Actor, Box, Face, Pose, Scene, View, shot
from PIL import Image
from render_films import coco, frames

from veilbox.evaluation.labels import parse_labels

SIZE = (320, 240)
HERE = Pose(x=160, y=100, size=40)


def still(_: float, pose: Pose) -> Pose:
    return pose


def scene(
    *poses: Pose,
    camera: Callable[[float], View] = lambda _: View(),
    posts: tuple[tuple[Box, int], ...] = (),
) -> Scene:
    size = (round(SIZE[0] * (1 + 2 * MARGIN)), round(SIZE[1] * (1 + 2 * MARGIN)))
    actors = [
        Actor(track=track, views=person(track), pose=partial(still, pose=pose)) for track, pose in enumerate(poses, 1)
    ]
    backdrop = Image.new("RGB", size, (0, 255, 0))
    return Scene(frames=1, backdrop=backdrop, actors=actors, camera=camera, posts=posts, noise=0.0)


def faces(one: Scene) -> list[Face]:
    return shot(one, 0, size=SIZE, rate=25, rng=np.random.default_rng(0))[1]


def test_a_face_is_where_the_truth_says() -> None:
    picture, found = shot(scene(HERE), 0, size=SIZE, rate=25, rng=np.random.default_rng(0))
    (face,) = found
    x1, y1, x2, y2 = (round(value) for value in face.box)
    assert (y2 - y1, (y1 + y2) / 2) == (40, 100)
    assert (x1 + x2) / 2 == pytest.approx(160, abs=1)
    # Skin is red before it is green, and nothing else here is: not the backdrop, nor what is above the head.
    red = picture[..., 0].astype(int) - picture[..., 1]
    assert np.mean(red[y1:y2, x1:x2] > 0) > 0.9
    assert np.mean(red[: y1 - 15] > 0) == 0
    assert face.visible == 1.0


def test_the_camera_moves_truth_and_picture_alike() -> None:
    (face,) = faces(scene(HERE, camera=lambda _: View(dx=10, dy=-5, zoom=2.0)))
    # From (170, 95), enlarged around the middle (160, 120).
    assert ((face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2) == pytest.approx((180, 70))
    assert face.box[3] - face.box[1] == pytest.approx(80)


HIDDEN: dict[str, tuple[Scene, float, bool]] = {
    "half outside": (scene(Pose(x=0, y=100, size=40)), 0.5, True),
    "wholly behind a post": (scene(HERE, posts=(((100, 0, 220, 240), 9),)), 0.0, False),
    "its right half behind a post": (scene(HERE, posts=(((160, 0, 220, 240), 9),)), 0.5, True),
    "behind a larger one": (scene(HERE, Pose(x=160, y=100, size=90)), 0.0, False),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_can_be_seen_of_a_face(name: str) -> None:
    one, visible, counts = HIDDEN[name]
    face = next(face for face in faces(one) if face.track == 1)
    assert face.visible == pytest.approx(visible, abs=0.06)
    if visible != 0.5:
        assert face.counts is counts


def test_whoever_is_outside_is_in_no_truth() -> None:
    assert faces(scene(Pose(x=-60, y=100, size=40))) == []


def test_a_seed_s_films_are_the_same_every_time_and_another_s_are_others() -> None:
    def first(seed: int) -> bytes:
        return next(frames(scripts(seed)[0], seed))[0].tobytes()

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_the_set_is_as_large_as_its_documentation_says() -> None:
    films = scripts()
    assert len({film.name for film in films}) == 12
    assert all(sum(scene.frames for scene in film.scenes) == FRAMES for film in films)
    assert sum(len(film.scenes[0].actors) for film in films) >= 60
    assert len(person(0)) == 10
    assert len(person(PEOPLE)) == 1


def test_labels_are_such_as_evaluate_reads() -> None:
    seen = Face(track=3, box=(1.0, 2.0, 11.0, 22.0), visible=1.0)
    hidden = Face(track=4, box=(1.0, 2.0, 11.0, 22.0), visible=0.4)
    labels = parse_labels(json.dumps(coco({"a": [[seen], [seen, hidden]], "b": [[]]})).encode())
    told = labels.at("films/a.mp4", 1)
    assert told is not None
    assert [(label.box, label.identity, label.ignored) for label in told] == [
        ((1.0, 2.0, 11.0, 22.0), 3, False),
        ((1.0, 2.0, 11.0, 22.0), 4, True),
    ]
    assert labels.at("b.mp4", 0) == ()
