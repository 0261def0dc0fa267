"""Real pictures: the labelled dash-camera set, split by time, and photographs that installed packages ship."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Photographs without vehicles inside packages, as (package, path, licence of the picture).
PACKAGED: tuple[tuple[str, str, str], ...] = (
    ("skimage", "data/astronaut.png", "public domain (NASA)"),
    ("skimage", "data/chelsea.png", "CC0"),
    ("skimage", "data/coffee.png", "CC0"),
    ("skimage", "data/rocket.jpg", "CC0"),
    ("skimage", "data/brick.png", "CC0"),
    ("skimage", "data/gravel.png", "CC0"),
    ("skimage", "data/grass.png", "CC0"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "public domain (US Navy)"),
)
# Share of every film's end that validates; neighbouring seconds show the same car, so pictures are not mixed.
VALIDATION_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Photograph:
    """A picture with its labelled plates.

    Attributes:
        name: File name.
        picture: (h, w, 3) uint8 RGB.
        boxes: (N, 4) float64, xyxy in pixels.
        unsure: (M, 4) likewise: what may be plates that nobody labelled; neither wanted nor a fault.
    """

    name: str
    picture: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    unsure: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))


def load_labelled(folder: Path) -> list[Photograph]:
    """All photographs of a folder with a `labels.json` in COCO's instances format, by name."""
    labels: dict[str, Any] = json.loads((folder / "labels.json").read_text())
    boxes: dict[int, list[list[float]]] = defaultdict(list)
    for annotation in labels["annotations"]:
        x, y, width, height = annotation["bbox"]
        boxes[annotation["image_id"]].append([x, y, x + width, y + height])
    return [
        Photograph(
            image["file_name"],
            _pixels(folder / image["file_name"]),
            np.array(boxes[image["id"]], np.float64).reshape(-1, 4),
        )
        for image in sorted(labels["images"], key=lambda image: str(image["file_name"]))
    ]


def split_by_time(photographs: Sequence[Photograph]) -> tuple[list[Photograph], list[Photograph]]:
    """Training and validation pictures: the last part of every film validates."""
    films: dict[str, list[tuple[int, Photograph]]] = defaultdict(list)
    for photograph in photographs:
        film, second = film_and_second(photograph.name)
        films[film].append((second, photograph))
    training: list[Photograph] = []
    validation: list[Photograph] = []
    for _, members in sorted(films.items()):
        ordered = [photograph for _, photograph in sorted(members, key=lambda member: member[0])]
        cut = len(ordered) - round(len(ordered) * VALIDATION_SHARE)
        training += ordered[:cut]
        validation += ordered[cut:]
    return training, validation


def film_and_second(name: str) -> tuple[str, int]:
    """Where in which film a picture was taken: `dayride.mp4#t=12.jpg` is second 12 of `dayride.mp4`."""
    match = re.fullmatch(r"(.*)#t=(\d+)\.\w+", name)
    return (match[1], int(match[2])) if match else (name, 0)


def load_packaged() -> list[Photograph]:
    """The photographs of `PACKAGED` that are installed here; none of them shows a plate."""
    paths = [_member(package, path) for package, path, _ in PACKAGED]
    return [Photograph(path.name, _pixels(path), np.zeros((0, 4))) for path in paths if path is not None]


def _member(package: str, path: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    file = Path(next(iter(spec.submodule_search_locations))) / path
    return file if file.is_file() else None


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
