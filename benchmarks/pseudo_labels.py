"""Label films without labels: `python benchmarks/pseudo_labels.py FILM... -o labels.json`.

The detector looks at every frame far closer than in a job (`--film-side`, both sizes of `--recall high`), and only sure
boxes are believed: what a track of several such boxes holds, gaps included, is a face with an identity; everything
weaker is ignored, neither right nor wrong. Labels by the very model that is measured cannot show what it never sees:
look at the sheets, which have a few pictures of every track (pixels of the films; keep them where the films are).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from veilbox.core.detections import Detections
from veilbox.core.policy import Tracking
from veilbox.core.regions import Origin
from veilbox.vision.track import Tracker

BIN = Path(sys.executable).parent
# Of a box that alone says that there is a face, and of one that keeps its track alive.
SURE, KEPT = 0.5, 0.2
# A track of fewer boxes, one of them sure, is nobody's for certain.
LEAST_FRAMES = 5
# A gap longer than this may hide another person.
_TRACKING = Tracking(lookahead=12, bridge=12, extend=0)
# Pictures of each track on a sheet, and their side in pixels.
_LOOKS, _SIDE = 6, 112


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One box of one track: xyxy in pixels."""

    frame: int
    track: int
    box: tuple[float, float, float, float]


def main() -> None:
    """Detect, link, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--film-side", type=int, default=1920, help="longer side at which is looked, pixels")
    parser.add_argument("--sheets", type=Path, help="folder for a picture of every film's tracks, a row for each")
    parser.add_argument(
        "--no-face",
        action="append",
        default=[],
        metavar="STEM:ROW",
        help="a row of a sheet, from 1, that shows no face",
    )
    arguments = parser.parse_args()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for film in arguments.films:
        found = _detected(film, arguments.film_side)
        placed = linked(found, *_size(film))
        rows = sorted({one.track for one in placed})
        refused = (word.rpartition(":") for word in arguments.no_face)
        ignored = {rows[int(row) - 1] for stem, _, row in refused if stem == film.stem}
        _add(film, placed, found, ignored, images, annotations)
        if arguments.sheets is not None:
            arguments.sheets.mkdir(parents=True, exist_ok=True)
            sheet(film, placed).save(arguments.sheets / f"{film.stem}.png")
        sys.stderr.write(f"{film.name}: {len({one.track for one in placed})} people\n")
    document = {"categories": [{"id": 1, "name": "face"}], "images": images, "annotations": annotations}
    arguments.output.write_text(json.dumps(document) + "\n", encoding="utf-8")


def _detected(film: Path, side: int) -> dict[int, list[dict[str, Any]]]:
    command: list[str | Path] = [
        BIN / "veilbox",
        "detect",
        film,
        "--recall=high",
        f"--film-side={side}",
        f"--threshold={KEPT}",
        "--quiet",
    ]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in json.loads(told.stdout):
        found[one["frame"]].append(one)
    return found


def _size(film: Path) -> tuple[int, int, int]:
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height, sum(1 for _ in container.decode(stream))


def linked(found: Mapping[int, Sequence[Mapping[str, Any]]], width: int, height: int, frames: int) -> list[Placed]:
    """The boxes of sure tracks, gaps filled.

    Args:
        found: By frame, what `veilbox detect` printed.
        width: Columns of the film.
        height: Rows.
        frames: How many there are.
    """
    tracker = Tracker(_TRACKING, width=width, height=height, thresholds={0: SURE})
    placed: list[Placed] = []
    seen: dict[int, int] = defaultdict(int)
    for frame, regions in _followed(tracker, found, frames):
        for box, track, origin in zip(regions.boxes.tolist(), regions.tracks.tolist(), regions.origins, strict=True):
            seen[track] += int(origin == Origin.DETECTED)
            placed.append(Placed(frame=frame, track=track, box=(box[0], box[1], box[2], box[3])))
    return [one for one in placed if seen[one.track] >= LEAST_FRAMES]


def _followed(
    tracker: Tracker, found: Mapping[int, Sequence[Mapping[str, Any]]], frames: int
) -> Iterator[tuple[int, Any]]:
    for frame in range(frames):
        rows = found.get(frame, ())
        boxes = np.array([_corners(one) for one in rows], np.float32).reshape(-1, 4)
        scores = np.array([one["score"] for one in rows], np.float32)
        tracker.push(frame, Detections(boxes, scores, np.zeros(len(rows), np.int32)))
        yield from tracker.ready()
    yield from tracker.flush()


def _corners(one: Mapping[str, Any]) -> tuple[float, float, float, float]:
    x, y, width, height = one["bbox"]
    return x, y, x + width, y + height


def _add(
    film: Path,
    placed: Sequence[Placed],
    found: Mapping[int, Sequence[Mapping[str, Any]]],
    ignored: Collection[int],
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
) -> None:
    """Add a film's labels to a document: people by track, and what is no sure track as ignored."""
    by_frame: dict[int, list[Placed]] = defaultdict(list)
    for one in placed:
        by_frame[one.frame].append(one)
    for frame in range(1 + max((*by_frame, *found), default=0)):
        image = len(images) + 1
        images.append({"id": image, "file_name": film.name, "frame_id": frame})
        held = [one.box for one in by_frame[frame]]
        unsure = [row["bbox"] for row in found.get(frame, ()) if not any(_meets(_corners(row), box) for box in held)]
        notes = [
            {"track_id": one.track, "bbox": _xywh(one.box), "iscrowd": int(one.track in ignored)}
            for one in by_frame[frame]
        ]
        notes += [{"bbox": box, "iscrowd": 1} for box in unsure]
        annotations += [{"image_id": image, "category_id": 1, **note} for note in notes]


def _xywh(box: tuple[float, float, float, float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _meets(box: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def sheet(film: Path, placed: Sequence[Placed]) -> Image.Image:
    """A few pictures of every track, a row for each, with as much around the box again."""
    by_track: dict[int, list[Placed]] = defaultdict(list)
    for one in placed:
        by_track[one.track].append(one)
    wanted: dict[int, list[tuple[int, int, Placed]]] = defaultdict(list)
    for row, track in enumerate(sorted(by_track)):
        for column, place in enumerate(np.linspace(0, len(by_track[track]) - 1, _LOOKS).astype(int).tolist()):
            one = by_track[track][place]
            wanted[one.frame].append((row, column, one))
    whole = Image.new("RGB", (_LOOKS * _SIDE, max(1, len(by_track)) * _SIDE))
    with av.open(str(film)) as container:
        for frame, picture in enumerate(container.decode(video=0)):
            for row, column, one in wanted.get(frame, ()):
                looked = Image.fromarray(picture.to_ndarray(format="rgb24")).crop(_around(one.box))
                whole.paste(looked.resize((_SIDE, _SIDE)), (column * _SIDE, row * _SIDE))
    return whole


def _around(box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """A square of twice a box's longer side around its middle."""
    x1, y1, x2, y2 = box
    side, x, y = max(x2 - x1, y2 - y1), (x1 + x2) / 2, (y1 + y2) / 2
    return round(x - side), round(y - side), round(x + side), round(y + side)


if __name__ == "__main__":
    main()
