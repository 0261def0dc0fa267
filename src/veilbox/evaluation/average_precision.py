"""The one door to pycocotools: average precision as everybody counts it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veilbox.core.errors import MachineError
from veilbox.evaluation.labels import Label
from veilbox.evaluation.matching import IOU, Scored

# COCO's areas in pixels: small below 32 squared, large from 96 squared on.
AREAS = ("all", "small", "medium", "large")
# COCO's own overlaps, and before them the one that recall is told at.
_OVERLAPS = (IOU, *(0.5 + 0.05 * step for step in range(10)))
# More than a detector hands on in one picture.
_MOST = 2_000


def average_precision(
    pictures: Sequence[tuple[Sequence[Label], Sequence[Scored]]], category: str
) -> dict[str, Mapping[str, float | None]]:
    """Average precision of one class.

    Args:
        pictures: Labels and found boxes of each picture.
        category: The class.

    Returns:
        By area of the label (`AREAS`): at the overlap `0.3`, at `0.5`, and the mean of `0.5:0.95`; None where no label
        has such an area.

    Raises:
        MachineError: pycocotools is not installed.
    """
    try:  # only who evaluates needs it
        from pycocotools.coco import COCO  # type: ignore[import-untyped]  # noqa: PLC0415
        from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise MachineError(
            "average precision needs a package that is not here",
            expected="pycocotools",
            advice="Install veilbox[evaluate]",
        ) from error
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress there
        truth = COCO()
        truth.dataset = _truth(pictures, category)
        truth.createIndex()
        found = _found(pictures, category)
        results = truth.loadRes(found) if found else _nothing(COCO(), truth)
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.params.iouThrs = np.array(_OVERLAPS)
        evaluation.params.maxDets = [_MOST]
        evaluation.evaluate()
        evaluation.accumulate()
    # (overlaps, recalls, classes, areas, most), -1 where there is nothing to find.
    precision = evaluation.eval["precision"][:, :, 0, :, 0]
    return {area: _told(precision[:, :, place]) for place, area in enumerate(AREAS)}


def _told(precision: Any) -> Mapping[str, float | None]:
    means = [None if (row < 0).any() else float(row.mean()) for row in precision]
    strict = [mean for mean in means[1:] if mean is not None]
    return {
        "0.3": means[0],
        "0.5": means[1],
        "0.5:0.95": sum(strict) / len(strict) if len(strict) == len(means) - 1 else None,
    }


def _truth(pictures: Sequence[tuple[Sequence[Label], Sequence[Scored]]], category: str) -> dict[str, Any]:
    notes = [
        (number, label) for number, (labels, _) in enumerate(pictures) for label in labels if label.category == category
    ]
    return {
        "info": {},
        "images": [{"id": number} for number in range(len(pictures))],
        "categories": [{"id": 1, "name": category}],
        "annotations": [
            {
                "id": number,
                "image_id": picture,
                "category_id": 1,
                "iscrowd": int(label.ignored),
                **_sized(label.box),
            }
            for number, (picture, label) in enumerate(notes, start=1)
        ],
    }


def _found(pictures: Sequence[tuple[Sequence[Label], Sequence[Scored]]], category: str) -> list[dict[str, Any]]:
    return [
        {"image_id": number, "category_id": 1, "score": one.score, **_sized(one.box)}
        for number, (_, found) in enumerate(pictures)
        for one in found
        if one.category == category
    ]


def _nothing(results: Any, truth: Any) -> Any:
    results.dataset = {**truth.dataset, "annotations": []}
    results.createIndex()
    return results


def _sized(box: tuple[float, float, float, float]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
