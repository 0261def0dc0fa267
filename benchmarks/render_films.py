"""Render the labelled film set: `python benchmarks/render_films.py FOLDER` writes twelve films and `labels.json`.

Needs `demo` on the path. Same packages, same bytes; a second run finds it done.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from filmset.scripts import RATE, Script, scripts
from filmset.stage import Face, shot
from numpy.typing import NDArray


def main() -> None:
    """Render what is not there; labels last, so that they stand for a complete set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="names of films; all of them otherwise")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for script in scripts(arguments.seed):
        if arguments.only is None or script.name in arguments.only:
            sys.stderr.write(f"film set: {script.name}\n")
            found[script.name] = write_film(script, arguments.folder / f"{script.name}.mp4", arguments.seed)
    labels = arguments.folder / "labels.json"
    labels.write_text(json.dumps(coco(found)) + "\n", encoding="utf-8")


def write_film(script: Script, path: Path, seed: int) -> list[list[Face]]:
    """Write one film, without sound; it appears under its name when it is complete.

    Returns:
        The true faces of each frame.
    """
    unfinished = path.with_name(f".{path.name}.part")
    with av.open(str(unfinished), "w", format="mp4", options={"fflags": "+bitexact"}) as film:
        options = {"preset": "veryfast", "crf": str(script.crf), "threads": "2"}
        stream = film.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = *script.size, "yuv420p"
        found: list[list[Face]] = []
        for picture, faces in frames(script, seed):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = len(found), Fraction(1, RATE)
            film.mux(stream.encode(frame))
            found.append(faces)
        film.mux(stream.encode(None))
    unfinished.replace(path)
    return found


def frames(script: Script, seed: int) -> Iterator[tuple[NDArray[np.uint8], list[Face]]]:
    """The frames of a film, scene after scene."""
    rng = np.random.default_rng((seed, len(script.name)))
    for scene in script.scenes:
        for frame in range(scene.frames):
            yield shot(scene, frame, size=script.size, rate=RATE, rng=rng)


def coco(films: dict[str, list[list[Face]]]) -> dict[str, Any]:
    """The truth in COCO's instances format, one image for each frame; `track_id` is unique in its film."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name, found in films.items():
        for frame, faces in enumerate(found):
            image = len(images) + 1
            images.append({"id": image, "file_name": f"{name}.mp4", "frame_id": frame})
            annotations += [_annotation(image, face) for face in faces]
    numbered = [{"id": number, **one} for number, one in enumerate(annotations, 1)]
    return {"categories": [{"id": 1, "name": "face"}], "images": images, "annotations": numbered}


def _annotation(image: int, face: Face) -> dict[str, Any]:
    x1, y1, x2, y2 = face.box
    return {
        "image_id": image,
        "category_id": 1,
        "track_id": face.track,
        "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
        "visible": round(face.visible, 3),
        "iscrowd": 0 if face.counts else 1,
    }


if __name__ == "__main__":
    main()
