"""`veilbox exposure REPORT -o PAGE`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veilbox.cli.audit.places import read_json
from veilbox.cli.page_file import write_page_file
from veilbox.core.errors import UsageError

_EPILOG = """\
example:
  veilbox exposure report.json -o exposure.html
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "exposure",
        help="make a page about exposure of a report",
        description="Make one HTML page of a job's report: how those who were found were covered. It loads\n"
        "nothing and shows no pixel.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("report", type=Path, metavar="REPORT", help="what `veilbox anonymize --report` wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PAGE", help="the HTML file to write")
    parser.add_argument(
        "--evaluation", type=Path, metavar="FILE", help="what `veilbox evaluate --json` printed about labelled data"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the page."""
    report = read_json(arguments.report)
    if not isinstance(report, dict):
        raise UsageError("not a report", where=str(arguments.report), expected="a JSON object")
    evaluation = read_json(arguments.evaluation) if arguments.evaluation else []
    write_page(arguments.output, report, evaluation)
    return 0


def write_page(path: Path, report: Mapping[str, Any], evaluation: Sequence[Any] = ()) -> None:
    """Write a report's page.

    Raises:
        UsageError: The report has no exposure, or the evaluation is none.
        OutputError: The file cannot be written.
    """
    from veilbox.orchestrate.exposure_page import exposure_page  # noqa: PLC0415

    write_page_file(path, exposure_page(report, evaluation))
