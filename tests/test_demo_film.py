"""The demo film is what its documentation says, and its truth is true."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from film import METADATA
from portraits import packaged, portrait
from scene import compose


@pytest.fixture(scope="module")
def truth(demo_film: tuple[Path, Path]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(demo_film[1].read_text())
    return document


@pytest.fixture(scope="module")
def paths(truth: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """Annotations by track, in the order of frames."""
    found: dict[int, list[dict[str, Any]]] = {}
    for note in truth["annotations"]:
        found.setdefault(note["track_id"], []).append(note)
    return found


def test_picture_and_time(demo_film: tuple[Path, Path]) -> None:
    with av.open(str(demo_film[0])) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 1280, 720)
        assert stream.time_base is not None
        times = [Fraction(frame.pts or 0) * stream.time_base for frame in film.decode(video=0)]
    assert times == [Fraction(index, 30) for index in range(300)]


def test_sound(demo_film: tuple[Path, Path]) -> None:
    with av.open(str(demo_film[0])) as film:
        stream = film.streams.audio[0]
        assert (stream.codec_context.name, stream.rate, stream.channels) == ("aac", 48_000, 2)
        samples = np.concatenate([frame.to_ndarray() for frame in film.decode(audio=0)], axis=1)
    # FFmpeg's AAC encoder primes one frame of 1024 samples and fills the last one.
    assert 480_000 <= samples.shape[1] <= 480_000 + 2 * 1024
    left, right = np.sqrt(np.mean(np.square(samples), axis=1))
    assert left == pytest.approx(2 * right, rel=0.1)
    assert left > 0.05


def test_metadata_that_must_not_survive_is_there(demo_film: tuple[Path, Path]) -> None:
    with av.open(str(demo_film[0])) as film:
        assert METADATA.items() <= film.metadata.items()


def test_the_truth_covers_every_frame(truth: dict[str, Any]) -> None:
    assert [image["frame"] for image in truth["images"]] == list(range(300))
    assert {note["image_id"] for note in truth["annotations"]} <= set(range(300))
    assert [note["id"] for note in truth["annotations"]] == list(range(1, len(truth["annotations"]) + 1))


def test_every_box_lies_in_the_picture(truth: dict[str, Any]) -> None:
    boxes = np.array([note["bbox"] for note in truth["annotations"]])
    assert boxes.min() >= 0
    assert (boxes[:, 0] + boxes[:, 2]).max() <= 1280.01
    assert (boxes[:, 1] + boxes[:, 3]).max() <= 720.01


def test_faces_enter_and_leave_at_three_borders(paths: dict[int, list[dict[str, Any]]]) -> None:
    boxes = {track: np.array([note["bbox"] for note in notes]) for track, notes in paths.items()}
    assert boxes[1][0, 0] == pytest.approx(0)
    assert boxes[1][-1, 0] + boxes[1][-1, 2] == pytest.approx(1280)
    assert boxes[4][0, 0] + boxes[4][0, 2] == pytest.approx(1280)
    assert boxes[4][-1, 0] == pytest.approx(0)
    for end in (0, -1):
        assert boxes[7][end, 1] + boxes[7][end, 3] == pytest.approx(720)


def test_sizes_change(paths: dict[int, list[dict[str, Any]]]) -> None:
    heights = {track: [note["bbox"][3] for note in notes] for track, notes in paths.items()}
    assert heights[3][0] / heights[3][-1] > 5
    assert heights[2][-1] / heights[2][0] > 5
    assert min(heights[3]) < 30


def test_several_faces_are_in_the_picture_at_any_time(truth: dict[str, Any]) -> None:
    seen = [note["image_id"] for note in truth["annotations"] if not note["iscrowd"]]
    assert np.bincount(seen, minlength=300).min() >= 2
    assert np.bincount(seen, minlength=300).max() >= 6


def test_somebody_is_hidden_for_a_while(paths: dict[int, list[dict[str, Any]]]) -> None:
    hidden = [note["iscrowd"] for note in paths[6]]
    assert hidden[0] == hidden[-1] == 0
    assert sum(hidden) > 10


def test_nobody_jumps(paths: dict[int, list[dict[str, Any]]]) -> None:
    for notes in paths.values():
        frames = np.array([note["image_id"] for note in notes])
        boxes = np.array([note["bbox"] for note in notes])
        assert set(np.diff(frames)) == {1}
        assert np.abs(np.diff(boxes, axis=0)).max() < 20


@pytest.mark.parametrize("frame", [0, 137, 299])
def test_a_frame_is_composed_the_same_way_twice(frame: int) -> None:
    first, second = compose(frame), compose(frame)
    assert np.array_equal(first[0], second[0])
    assert first[1] == second[1]
    assert first[0].shape == (720, 1280, 3)


@pytest.mark.parametrize("name", ["astronaut", "admiral"])
def test_a_mirrored_portrait_has_its_face_on_the_other_side(name: Any) -> None:
    plain, mirrored = portrait(name), portrait(name, mirrored=True)
    assert mirrored.face[0] == plain.levels[0].width - plain.face[2]
    assert mirrored.face[1::2] == plain.face[1::2]


def test_a_missing_package_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no_such_package is missing; run `make setup`"):
        packaged("no_such_package", "x")
    with pytest.raises(FileNotFoundError, match=r"has no data/x\.png"):
        packaged("skimage", "data", "x.png")
