"""What was found is held against labels with the tracks and the redaction that anonymize would make of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from veilbox.core.errors import UsageError
from veilbox.core.policy import Detection, Policy, Redaction, Tracking
from veilbox.core.zones import Zone
from veilbox.evaluation.labels import Labels, parse_labels
from veilbox.orchestrate.detect import Box, Found, Searched
from veilbox.orchestrate.evaluate import judged

FILM = Searched(item=0, name="films/a.mp4", film=True, width=100, height=50, frames=3)
IMAGE = Searched(item=0, name="a.jpg", film=False, width=100, height=50, frames=1)
EXACT = Policy(redaction=Redaction(margin=0.0))


def box(frame: int, xywh: tuple[float, float, float, float], score: float = 0.9, category: str = "face") -> Box:
    return Box(item=0, name="", frame=frame, category=category, xywh=xywh, score=score, film=True)


def found(searched: Searched, *boxes: Box) -> Found:
    return Found(boxes=boxes, failures=(), searched=(searched,), thresholds={"face": 0.2, "plate": 0.45})


def labels(frames: int, *notes: dict[str, Any], name: str = "a.mp4") -> Labels:
    document = {
        "images": [{"id": frame, "file_name": name, "frame_id": frame} for frame in range(frames)],
        "annotations": [{"category_id": 1} | note for note in notes],
        "categories": [{"id": 1, "name": "face"}, {"id": 2, "name": "plate"}],
    }
    return parse_labels(json.dumps(document).encode())


def test_an_image_of_a_face_found_and_a_face_missed() -> None:
    told = labels(1, {"image_id": 0, "bbox": [10, 10, 10, 10]}, {"image_id": 0, "bbox": [60, 10, 10, 10]}, name="a.jpg")
    result = judged(found(IMAGE, box(0, (10, 10, 10, 10)), box(0, (30, 30, 10, 10))), told, EXACT)
    face = result.classes["face"]
    assert (result.pictures, result.unlabelled) == (1, 0)
    assert (face.labels, face.recall, face.precision) == (2, 0.5, 0.5)
    assert (face.covered, face.coverage) == (0.5, 0.5)
    assert result.false_cover == pytest.approx(100 / 5000)
    assert face.exposure is None
    assert face.exposures == ()


@pytest.mark.parametrize(("overlap", "recall"), [(0.3, 1.0), (0.5, 1.0), (0.6, 0.0)])
def test_how_much_must_overlap_is_asked_for(overlap: float, recall: float) -> None:
    told = labels(1, {"image_id": 0, "bbox": [10, 10, 10, 10]}, name="a.jpg")
    half = found(IMAGE, box(0, (10, 10, 10, 18)))  # 10 * 10 of 10 * 18
    assert judged(half, told, EXACT, overlap=overlap).classes["face"].recall == recall


def test_a_gap_in_a_film_is_covered_by_its_track_and_exposes_nobody() -> None:
    notes = [{"image_id": frame, "bbox": [10, 10, 10, 10], "track_id": 1} for frame in range(3)]
    seen = found(FILM, box(0, (10, 10, 10, 10)), box(2, (10, 10, 10, 10)))
    face = judged(seen, labels(3, *notes), EXACT).classes["face"]
    assert face.recall == pytest.approx(2 / 3)
    assert face.covered == 1.0
    assert face.exposure is not None
    assert (face.exposure.identities, face.exposure.exposed) == (1, 0)
    # A weak box alone is no track.
    weak = found(FILM, *(box(frame, (10, 10, 10, 10), score=0.19) for frame in range(3)))
    face = judged(weak, labels(3, *notes), EXACT).classes["face"]
    assert (face.recall, face.covered, face.exposure and face.exposure.exposed) == (0.0, 0.0, 1)


def test_exposure_is_told_for_other_thresholds_with_tracks_made_anew() -> None:
    notes = [{"image_id": frame, "bbox": [10, 10, 10, 10], "track_id": 1} for frame in range(3)]
    seen = found(FILM, *(box(frame, (10, 10, 10, 10), score=0.45) for frame in (0, 2)))
    face = judged(seen, labels(3, *notes), EXACT).classes["face"]
    assert {one.score: one.exposure.exposed for one in face.exposures} == {
        score: int(score > 0.45) for score in (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7)
    }
    own = next(one for one in face.exposures if one.score == 0.2)
    assert own.exposure == face.exposure


def test_exposure_for_other_thresholds_is_left_out_where_nobody_asks() -> None:
    notes = [{"image_id": frame, "bbox": [10, 10, 10, 10], "track_id": 1} for frame in range(3)]
    seen = found(FILM, *(box(frame, (10, 10, 10, 10)) for frame in range(3)))
    told = judged(seen, labels(3, *notes), EXACT).classes["face"]
    assert judged(seen, labels(3, *notes), EXACT, by_threshold=False).classes["face"] == replace(told, exposures=())


LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def test_zones_hide_keep_and_are_no_false_cover() -> None:
    left, right = {"image_id": 0, "bbox": [10, 10, 10, 10]}, {"image_id": 0, "bbox": [60, 10, 10, 10]}
    told, seen = labels(1, left, right, name="a.jpg"), found(IMAGE, box(0, (60, 10, 10, 10)))
    cases = {
        "no zone": (None, 2, 0.5, 0.5, 0.0),
        "hidden": (Zone(points=LEFT), 2, 0.5, 1.0, 0.01),  # one column more than half, as anonymize covers it
        "keeps": (Zone(points=LEFT, keep=True), 1, 1.0, 1.0, 0.0),
        "another camera's": (Zone(points=LEFT, camera="*/yard/*"), 2, 0.5, 0.5, 0.0),
    }
    for name, (zone, wanted, recall, covered, needless) in cases.items():
        result = judged(seen, told, replace(EXACT, zones=() if zone is None else (zone,)))
        face = result.classes["face"]
        assert (face.labels, face.recall, face.covered) == (wanted, recall, covered), name
        assert result.false_cover <= needless, name


def test_boxes_that_a_job_would_not_hand_on_keep_no_track_alive() -> None:
    notes = [{"image_id": frame, "bbox": [10, 10, 10, 10], "track_id": 1} for frame in range(3)]
    boxes = (box(0, (10, 10, 10, 10)), box(1, (10, 10, 10, 10), score=0.07))
    for floor, hidden in ((0.1, 1), (0.05, 2)):
        policy = Policy(redaction=Redaction(margin=0.0), tracking=Tracking(extend=0))
        seen = replace(found(FILM, *boxes), floors={"face": floor})
        assert judged(seen, labels(3, *notes), policy).classes["face"].covered == pytest.approx(hidden / 3)
    asked = replace(policy, detection=Detection(floor=0.05))
    assert judged(seen, labels(3, *notes), asked).classes["face"].covered == pytest.approx(2 / 3)


def test_every_class_has_its_own_threshold_and_only_hidden_ones_count() -> None:
    told = labels(1, {"image_id": 0, "bbox": [10, 10, 10, 10], "category_id": 2}, name="a.jpg")
    seen = found(IMAGE, box(0, (10, 10, 10, 10), score=0.3, category="plate"))
    both = Policy(detection=Detection(classes=("face", "plate")), redaction=Redaction(margin=0.0))
    result = judged(seen, told, both)
    assert (result.classes["plate"].recall, result.classes["plate"].covered) == (0.0, 0.0)
    assert result.classes["plate"].recall_at_precision["0.9"] == 1.0
    assert result.classes["face"].recall is None
    assert set(judged(seen, told, EXACT).classes) == {"face"}


def test_frames_that_the_labels_do_not_speak_of_count_for_nothing() -> None:
    seen = found(FILM, *(box(frame, (0, 0, 50, 50)) for frame in range(3)))
    result = judged(seen, labels(1), EXACT)
    assert (result.pictures, result.unlabelled) == (1, 2)
    assert result.classes["face"].precision == 0.0


def test_a_set_of_other_pictures_is_refused() -> None:
    with pytest.raises(UsageError, match="no picture is labelled"):
        judged(found(IMAGE), labels(1, name="b.jpg"), EXACT)
