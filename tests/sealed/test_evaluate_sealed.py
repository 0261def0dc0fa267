"""A policy is measured through the sealed components, beside another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sealed_workshop import RunVeilbox

pytestmark = pytest.mark.sealed

# Where the portrait's face is in the first frame of `make_film`, by eye, in pixels; it moves by 4 a frame.
FACE = (20 + 90, 40 + 70, 65, 85)
FRAMES = 50


def truth(frames: int, **note: Any) -> dict[str, Any]:
    x, y, width, height = FACE
    return {
        "images": [{"id": frame, "file_name": "short.mp4", "frame_id": frame} for frame in range(frames)],
        "annotations": [
            {"image_id": frame, "category_id": 1, "bbox": [x + 4 * frame, y, width, height]} | note
            for frame in range(frames)
        ],
        "categories": [{"id": 1, "name": "face"}],
    }


def test_two_policies_beside_each_other(veilbox: RunVeilbox, short_film: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(truth(40, track_id=1)))
    ran = veilbox("evaluate", short_film, "--labels", labels, "--against=--threshold 0.99", "--json", "--quiet")
    assert ran.status == 0, ran.stderr
    usual, blind = ran.json
    assert [one["options"] for one in ran.json] == ["policy", "--threshold 0.99"]
    assert (usual["pictures"], usual["unlabelled"]) == (40, FRAMES - 40)
    seen = usual["classes"]["face"]
    assert (seen["labels"], seen["threshold"]) == (40, 0.2)
    assert seen["recall"] == 1.0
    assert seen["covered"] == 1.0
    assert (seen["exposure"]["identities"], seen["exposure"]["exposed"]) == (1, 0)
    assert usual["seconds"] > 0
    # The same boxes, counted from another score on: the curve is the same, what is hidden is not.
    unseen = blind["classes"]["face"]
    assert unseen["curve"] == seen["curve"]
    assert (unseen["recall"], unseen["covered"], unseen["exposure"]["exposed"]) == (0.0, 0.0, 1)


def test_labels_of_something_else_are_refused_before_anything_starts(
    veilbox: RunVeilbox, short_film: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(truth(1) | {"categories": [{"id": 1, "name": "cat"}]}))
    ran = veilbox("evaluate", short_film, "--labels", labels, "--json", "--quiet")
    assert ran.status == 2
    assert "no class that is hidden" in ran.json["error"]["message"]
