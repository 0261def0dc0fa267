"""`veilbox detect INPUT... --format coco`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from veilbox.cli.policy_options import CLASSES, add_detection_options, add_zone_option, policy_from
from veilbox.cli.progress_bar import progress_for
from veilbox.cli.weak_walls import warn_of_weak_walls
from veilbox.core.errors import PartialFailure
from veilbox.core.job import Job

if TYPE_CHECKING:
    from veilbox.orchestrate.detect import Found

_EPILOG = """\
examples:
  veilbox detect photo.jpg --format coco > boxes.json
  veilbox detect photos/ film.mp4 --format coco --threshold 0.4

Printed is COCO's results list: one object for each box with image_id, category_id, bbox [x, y, width, height] in pixels
of the picture as a viewer sees it, and score; beside them file_name, category and, for films, frame (from 0).
image_id counts the inputs from 0 in their order; category_id counts from 1 in the order face, plate, then
what a model of yours finds, in alphabetical order. What lies wholly in a zone that keeps is left out.
"""

# COCO counts categories from 1.
_CATEGORY_IDS = {name: number for number, name in enumerate(CLASSES, start=1)}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "detect",
        help="print boxes with scores, without an output picture",
        description="Print boxes with scores, through the same sealed components, without an output picture.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="file or folder (recursive)")
    parser.add_argument("--format", choices=["coco"], default="coco", help="default: coco")
    add_detection_options(parser)
    add_zone_option(parser)
    parser.add_argument("--json", action="store_true", help="print an error as JSON too")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Parse into a job, run it, print its boxes."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.detect import detect_every  # noqa: PLC0415
    from veilbox.orchestrate.inputs import items_for  # noqa: PLC0415

    items, _, folder = items_for(arguments.inputs, None)
    job = Job(items=items, policy=policy_from(arguments), folder=folder)
    warn_of_weak_walls([job.policy])
    with progress_for(quiet=arguments.quiet) as progress:
        found = detect_every(job, store=ImageStore.default(), progress=progress)
    sys.stdout.write(json.dumps(coco_results(found)) + "\n")
    for failure in found.failures:
        sys.stderr.write(f"veilbox: {failure.message}\n")
    if found.failures:
        raise PartialFailure(f"{len(found.failures)} of {len(items)} sources failed", advice="See the messages above")
    return 0


def coco_results(found: Found) -> list[dict[str, object]]:
    """COCO's results list, with each box's file and frame beside it."""
    others = sorted({box.category for box in found.boxes} - {*CLASSES})
    ids = _CATEGORY_IDS | {name: number for number, name in enumerate(others, start=len(CLASSES) + 1)}
    return [
        {
            "image_id": box.item,
            "category_id": ids[box.category],
            "bbox": [round(value, 2) for value in box.xywh],
            "score": round(box.score, 5),
            "file_name": box.name,
            "category": box.category,
            **({"frame": box.frame} if box.film else {}),
        }
        for box in found.boxes
    ]
