"""`veilbox attack FOLDER...`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from veilbox.cli.policy_options import add_detection_options, policy_from
from veilbox.cli.progress_bar import progress_for
from veilbox.core.errors import PartialFailure, UsageError
from veilbox.core.job import Job

if TYPE_CHECKING:
    from veilbox.core.linking import LinkRate
    from veilbox.orchestrate.attack import Attack

_EPILOG = """\
examples:
  veilbox attack staff/
  veilbox attack crops/ --whole --json

Pictures in one folder below an input show one person: staff/anna/1.jpg, staff/anna/2.jpg, staff/boris/1.jpg.
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "attack",
        help="try to link redacted faces to their originals",
        description="Redact faces in every style and strength, and have a built-in adversary, who knows the style,\n"
        "try to link them back to their originals, and to other pictures of the same people. Nothing is written.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="folders of pictures")
    parser.add_argument(
        "--whole", action="store_true", help="each picture is one face; nothing needs to be found in it"
    )
    add_detection_options(parser)
    parser.add_argument("--json", action="store_true", help="print rates as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Attack, and print the rates."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.attack import attack, people_of  # noqa: PLC0415
    from veilbox.orchestrate.inputs import items_for  # noqa: PLC0415

    items, skipped, _ = items_for(arguments.inputs, None)
    job = Job(items=items, policy=policy_from(arguments), skipped=skipped, folder=True)
    people = people_of(items, arguments.inputs)
    with progress_for(quiet=arguments.quiet) as progress:
        found = attack(job, people, whole=arguments.whole, store=ImageStore.default(), progress=progress)
    if not found.rates:
        raise UsageError(
            "too few faces to compare", actual=f"{found.pictures} pictures", advice="Give more pictures, or --whole"
        )
    if arguments.json:
        sys.stdout.write(json.dumps(_document(found)) + "\n")
    else:
        _print_table(found)
    if found.failures:
        raise PartialFailure(f"{len(found.failures)} of {len(items)} sources could not be read")
    return 0


def _document(found: Attack) -> dict[str, object]:
    import msgspec  # noqa: PLC0415

    document: dict[str, object] = msgspec.to_builtins(found)
    document["rates"] = [
        {
            **msgspec.to_builtins(one),
            "rate": one.hits / one.trials,
            **dict(zip(("low", "high"), _ends(one), strict=True)),
        }
        for one in found.rates
    ]
    return document


def _ends(one: LinkRate) -> tuple[float, float]:
    from veilbox.orchestrate.attack import wilson  # noqa: PLC0415

    return wilson(one.hits, one.trials)


def _print_table(found: Attack) -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    heads = ("style", "cells", "adversary", "gallery", "rate", "95 %", "chance", "faces")
    table = Table(*heads, box=box.SIMPLE_HEAD)
    for one in found.rates:
        low, high = _ends(one)
        table.add_row(
            one.style,
            str(one.cells or ""),
            one.adversary,
            "same picture" if one.same else "other picture",
            f"{one.hits / one.trials:.3f}",
            f"{low:.2f}-{high:.2f}",
            f"{one.chance:.3f}",
            str(one.trials),
        )
    console = Console(file=sys.stdout, highlight=False, markup=False)
    console.print(table)
    console.print(f"{found.pictures} pictures of {found.people} people")
