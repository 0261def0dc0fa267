"""`veilbox evaluate --labels COCO.json INPUT...`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from veilbox.cli.page_file import write_page_file
from veilbox.cli.policy_options import add_covering_options, add_detection_options, add_zone_option, policy_from
from veilbox.cli.progress_bar import progress_for
from veilbox.cli.weak_walls import warn_of_weak_walls
from veilbox.core.errors import SourceMissing, UsageError
from veilbox.core.job import Job
from veilbox.core.policy import Policy

if TYPE_CHECKING:
    from veilbox.orchestrate.evaluate import ClassResult, Evaluation

_EPILOG = """\
examples:
  veilbox evaluate --labels photos/labels.json photos/
  veilbox evaluate --labels labels.json photos/ --hide face --against=--recall=high --json
  veilbox evaluate --labels labels.json film.mp4 --against=--recall=fast --plots page.html

Labels are COCO's instances format, boxes in pixels of the picture as a viewer sees it. file_name is a source's path or
the end of it. For films every frame is an image of its own with frame_id from 0, and annotations may have a track_id:
exposure is counted by it. A label's category is called as --hide calls it.
"""
# More than any set in the field: COCO's own instances are 470 MB.
_MAX_LABELS = 1 << 30


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="measure what a policy finds and hides, against labels of your own",
        description="Measure what a policy finds and hides, through the same sealed components, against labels.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="file or folder (recursive)")
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help="COCO instances, JSON")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="OPTIONS",
        help="options, in quotes, in which another policy differs from the first; shown beside it; repeatable",
    )
    _add_policy_options(parser)
    parser.add_argument(
        "--overlap",
        type=_overlap,
        default=0.3,
        metavar="SHARE",
        help="intersection over union from which on a found box is a label's (default: 0.3; whole people often 0.5)",
    )
    parser.add_argument(
        "--plots",
        type=Path,
        metavar="PAGE",
        help="write an HTML page too: precision against recall, recall against size, exposure against threshold",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def _add_policy_options(parser: argparse.ArgumentParser) -> None:
    add_detection_options(parser)
    redaction = parser.add_argument_group("redaction")
    add_covering_options(redaction)
    add_zone_option(redaction)


def run(arguments: argparse.Namespace) -> int:
    """Parse into jobs, run them, print what they came to side by side."""
    from veilbox.evaluation.labels import parse_labels  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.evaluate import evaluate  # noqa: PLC0415
    from veilbox.orchestrate.inputs import items_for  # noqa: PLC0415

    policies = {"policy": policy_from(arguments)} | {text: _spelled(text, arguments) for text in arguments.against}
    labels = parse_labels(_read(arguments.labels))
    items, _, _ = items_for(arguments.inputs, None)
    warn_of_weak_walls(policies.values())
    results: dict[str, Evaluation] = {}
    for name, policy in policies.items():
        # One bad source would leave labels unanswered: it ends the evaluation.
        job = Job(items=items, policy=policy, folder=False)
        with progress_for(quiet=arguments.quiet) as progress:
            results[name] = evaluate(
                job,
                labels,
                store=ImageStore.default(),
                progress=progress,
                overlap=arguments.overlap,
                # The table has no room for it.
                by_threshold=arguments.json or arguments.plots is not None,
            )
    if arguments.plots is not None:
        from veilbox.orchestrate.evaluation_page import evaluation_page  # noqa: PLC0415

        write_page_file(arguments.plots, evaluation_page(_told(results)))
    if arguments.json:
        _print_json(results)
    else:
        _print_table(results)
    return 0


def _overlap(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("above 0, at most 1")
    return share


class _Spelled(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError("the other policy cannot be read", where="--against", actual=message)


def _spelled(text: str, first: argparse.Namespace) -> Policy:
    parser = _Spelled(add_help=False)
    _add_policy_options(parser)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError("the other policy cannot be read", where="--against", actual=str(error)) from error
    # What is not said again stays; a list that is said again begins anew.
    said = {name: value for name, value in vars(first).items() if not isinstance(value, list)}
    lists = vars(parser.parse_args(words))
    kept = {name: value for name, value in vars(first).items() if name not in said and not lists.get(name)}
    return policy_from(parser.parse_args(words, argparse.Namespace(**said, **kept)))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_LABELS + 1)
    except OSError as error:
        raise SourceMissing("labels cannot be opened", where=str(path), actual=error.strerror or "") from error
    if len(content) > _MAX_LABELS:
        raise UsageError("labels are too large", where=str(path), expected=f"at most {_MAX_LABELS} bytes")
    return content


def _told(results: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    import msgspec  # noqa: PLC0415

    return [{"options": name, **msgspec.to_builtins(result)} for name, result in results.items()]


def _print_json(results: Mapping[str, Evaluation]) -> None:
    import msgspec  # noqa: PLC0415

    sys.stdout.write(msgspec.json.encode(_told(results)).decode() + "\n")


def _print_table(results: Mapping[str, Evaluation]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("", *results)
    columns = [_rows(result) for result in results.values()]
    names = list(dict.fromkeys(name for column in columns for name in column))
    for name in names:
        table.add_row(name, *(column.get(name, "") for column in columns))
    Console(file=sys.stdout, highlight=False, markup=False).print(table)


def _rows(result: Evaluation) -> dict[str, str]:
    rows = {
        "pictures": str(result.pictures),
        "ms a picture": f"{1000 * result.seconds / (result.pictures + result.unlabelled):.0f}",
        "hidden without need": _share(result.false_cover),
    }
    for name, one in result.classes.items():
        rows |= {f"{name}: {key}": value for key, value in _class_rows(one).items()}
    return rows


def _class_rows(one: ClassResult) -> dict[str, str]:
    rows = {
        "labels": str(one.labels),
        "counts from score": f"{one.threshold:.2f}",
        "recall": _share(one.recall),
        "precision": _share(one.precision),
        **{f"recall at precision {wanted}": _share(value) for wanted, value in one.recall_at_precision.items()},
        **{
            f"AP {area} at {overlap}": _share(value)
            for area, values in one.average_precision.items()
            for overlap, value in values.items()
        },
        "boxes hidden to 80 %": _share(one.covered),
        "mean of a box hidden": _share(one.coverage),
    }
    if one.exposure is not None:
        seen = one.exposure
        rows["identities exposed"] = f"{seen.exposed} of {seen.identities} ({seen.low:.3f} to {seen.high:.3f})"
        rows["frames that expose one"] = str(seen.frames)
    return rows


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
