"""Measures an exported model: `python -m plates.evaluate --model FOLDER --data FOLDER [--validation]`.

It runs what the product runs, `veilbox.vision.detect`, and prints one JSON document: recall and precision at an
intersection over union of 0.3 at several thresholds, for several sizes and by tiles, with milliseconds a picture.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plates.backgrounds import Photograph, load_labelled, split_by_time
from plates.measure import Finder, Found, Score, fitted, score_of, thinned
from veilbox.vision.detect import Detector, load_detector

_FLOOR = 0.02
_THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
# Longer sides at which a picture is seen whole.
_SIZES = (416, 640, 960, 1280)
# Pixels of a tile's side and of what two neighbours share, at least as wide as the widest plate that a tile must hold.
_TILE, _SHARED = 640, 160


def whole(detector: Detector) -> Finder:
    """The detector on a whole picture."""

    def find(picture: NDArray[np.uint8]) -> Found:
        found = detector.detect(picture)
        return found.boxes.astype(np.float64), found.scores.astype(np.float64)

    return find


def by_tiles(detector: Detector) -> Finder:
    """The detector on tiles of a picture and on the whole of it at a tile's size, merged."""

    def find(picture: NDArray[np.uint8]) -> Found:
        small, scale = fitted(picture, longest=_TILE, stride=detector.card.stride, upscale=False)
        views = [(small, 0, 0, scale)]
        if max(picture.shape[:2]) > _TILE:
            views += [
                (np.ascontiguousarray(picture[y : y + _TILE, x : x + _TILE]), x, y, 1.0)
                for y in _starts(picture.shape[0])
                for x in _starts(picture.shape[1])
            ]
        boxes, scores = [], []
        for view, x, y, factor in views:
            found = detector.detect(view)
            boxes.append(found.boxes.astype(np.float64) / factor + (x, y, x, y))
            scores.append(found.scores.astype(np.float64))
        return thinned(np.concatenate(boxes), np.concatenate(scores))

    return find


def _starts(side: int) -> list[int]:
    last = max(side - _TILE, 0)
    count = 1 if last == 0 else -(-last // (_TILE - _SHARED)) + 1
    return [round(place / 32) * 32 for place in np.linspace(0, last, count)]


def measured(
    find: Finder, photographs: list[Photograph], *, longest: int, stride: int, upscale: bool
) -> dict[str, Any]:
    """One row of the table."""
    started = time.process_time()
    score = score_of(find, photographs, longest=longest, stride=stride, upscale=upscale)
    spent = time.process_time() - started
    return {"ms_of_processor": round(1000 * spent / len(photographs), 1), **_numbers(score)}


def _numbers(score: Score) -> dict[str, Any]:
    at_precision = {}
    for precision in (0.7, 0.8, 0.9):
        recall, threshold = score.recall_at(precision)
        at_precision[str(precision)] = {"recall": round(recall, 3), "score": round(threshold, 3)}
    return {
        "labelled": score.labelled,
        "average_precision": round(score.average, 3),
        "recall_at_precision": at_precision,
        "curve": [[threshold, *(round(float(value), 3) for value in score.at(threshold))] for threshold in _THRESHOLDS],
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of model.onnx and card.json")
    parser.add_argument("--data", type=Path, required=True, help="folder of labels.json")
    parser.add_argument("--validation", action="store_true", help="only the part of the set that did not train")
    arguments = parser.parse_args()
    detector = load_detector(arguments.model, threads=2, threshold=_FLOOR, floor=_FLOOR)
    # What the card makes of large pictures is what is to be found out.
    detector.card = replace(detector.card, longest=None)
    photographs = load_labelled(arguments.data)
    if arguments.validation:
        photographs = split_by_time(photographs)[1]
    json.dump(report(detector, photographs), sys.stdout, indent=1)


def report(detector: Detector, photographs: list[Photograph]) -> dict[str, Any]:
    """The whole table: sets by where the pictures come from, and ways of looking."""
    stride = detector.card.stride
    groups = {"all": photographs}
    for photograph in photographs:
        groups.setdefault(photograph.name.split("_")[0], []).append(photograph)
    rows: dict[str, Any] = {}
    for group, members in groups.items():
        for size in _SIZES:
            for upscale in (False, True):
                key = f"{group} {size}{' enlarged' if upscale else ''}"
                rows[key] = measured(whole(detector), members, longest=size, stride=stride, upscale=upscale)
        rows[f"{group} tiles"] = measured(by_tiles(detector), members, longest=1280, stride=stride, upscale=False)
    return rows


if __name__ == "__main__":
    main()
