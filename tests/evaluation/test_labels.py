"""COCO's instances are read strictly enough to trust what is counted by them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from veilbox.core.errors import UsageError
from veilbox.evaluation.labels import Label, parse_labels


def document(**changed: object) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 10, "height": 10}, {"id": 8, "file_name": "b/c.jpg"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3.5, 4], "area": 14}],
        "categories": [{"id": 3, "name": "face", "supercategory": "person"}],
    } | changed


def parsed(**changed: object) -> Any:
    return parse_labels(json.dumps(document(**changed)).encode())


def test_boxes_become_corners_and_empty_pictures_stay() -> None:
    labels = parsed()
    assert labels.categories == ("face",)
    assert labels.places == {("a.jpg", 0): (Label(category="face", box=(1, 2, 4.5, 6)),), ("b/c.jpg", 0): ()}


@pytest.mark.parametrize(
    ("name", "known"),
    [("a.jpg", True), ("photos/a.jpg", True), ("xa.jpg", False), ("c.jpg", False), ("/x/b/c.jpg", True)],
)
def test_a_picture_is_found_by_the_end_of_its_path(name: str, known: bool) -> None:
    assert (parsed().at(name, 0) is not None) is known


def test_frames_of_a_film_and_whose_face_it_is() -> None:
    labels = parsed(
        images=[{"id": 1, "file_name": "f.mp4", "frame_id": 0}, {"id": 2, "file_name": "f.mp4", "frame": 1}],
        annotations=[{"image_id": 2, "category_id": 3, "bbox": [0, 0, 1, 1], "track_id": 4, "iscrowd": 1}],
    )
    assert labels.at("f.mp4", 0) == ()
    assert labels.at("f.mp4", 1) == (Label(category="face", box=(0, 0, 1, 1), identity=4, ignored=True),)
    assert labels.at("f.mp4", 2) is None


NOTE = {"image_id": 7, "category_id": 3, "bbox": [0, 0, 1, 1]}


@pytest.mark.parametrize(
    "changed",
    [
        {"images": [{"id": 7}]},
        {"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "a.jpg"}]},
        {"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 7, "file_name": "b.jpg"}]},
        {"annotations": [NOTE | {"image_id": 9}]},
        {"annotations": [NOTE | {"category_id": 9}]},
        {"annotations": [NOTE | {"bbox": [0, 0, -1, 1]}]},
        {"annotations": [NOTE | {"bbox": [0, 0, 1]}]},
        {"categories": None},
    ],
)
def test_what_cannot_be_counted_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--labels"):
        parsed(**changed)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"images": []}'])
def test_what_are_no_labels_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match="--labels"):
        parse_labels(content)
