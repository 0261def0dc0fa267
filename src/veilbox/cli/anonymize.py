"""`veilbox anonymize INPUT... -o OUTPUT`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from veilbox.cli.exposure import write_page
from veilbox.cli.policy_options import (
    add_detection_options,
    add_redaction_options,
    add_retention_option,
    add_verification_options,
    policy_from,
)
from veilbox.cli.progress_bar import progress_for
from veilbox.core.errors import OutputError, PartialFailure
from veilbox.core.job import Job

if TYPE_CHECKING:
    from veilbox.orchestrate.report import Report

_EPILOG = """\
examples:
  veilbox anonymize street.mp4 -o hidden.mp4
  veilbox anonymize photos/ -o hidden/ --style pixelate --cells 5
  veilbox anonymize talk.mov -o talk-hidden.mov --keep audio --encoder libx264 --preset veryfast --crf 20
  veilbox anonymize street.mp4 -o hidden.mp4 --isolation 3 --report report.json
  veilbox anonymize inbox/ -o hidden/ --source encrypt

With --json the report is printed on standard output (docs/reference/report.schema.json); in case of an error an object
with the one key "error".
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "anonymize",
        help="hide faces in images and films",
        description="Hide faces in images and films, every step in a sealed container of its own.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="file or folder (recursive)")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUTPUT", help="file for one file; folder for several or for a folder"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist already")
    add_detection_options(parser)
    add_redaction_options(parser)
    add_verification_options(parser)
    add_retention_option(parser)
    told = parser.add_argument_group("what you are told")
    told.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON")
    told.add_argument(
        "--exposure-report", type=Path, metavar="FILE", help="write an HTML page: how those who were found were covered"
    )
    told.add_argument("--json", action="store_true", help="print the report as JSON instead of a summary")
    told.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Parse into a job, run it, render its report."""
    # Imported here: `veilbox --help` and the other commands must not wait for them.
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.anonymize import anonymize  # noqa: PLC0415
    from veilbox.orchestrate.inputs import items_for  # noqa: PLC0415
    from veilbox.orchestrate.report import report_json  # noqa: PLC0415

    policy = policy_from(arguments)
    items, skipped, folder = items_for(arguments.inputs, arguments.output)
    job = Job(
        items=items,
        policy=policy,
        skipped=skipped,
        replace=arguments.overwrite,
        folder=folder,
    )
    with progress_for(quiet=arguments.quiet) as progress:
        report = anonymize(job, store=ImageStore.default(), progress=progress)
    document = report_json(report)
    if arguments.report is not None:
        _write_report(arguments.report, document)
    if arguments.exposure_report is not None:
        write_page(arguments.exposure_report, document)
    if arguments.json:
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        from veilbox.cli.summary import print_summary  # noqa: PLC0415

        print_summary(report)
    _tell_unkept(report)
    if len(items) == 1:
        _tell_withheld(report, str(items[0].output))
    if report.failures:
        raise PartialFailure(
            f"{len(report.failures)} of {len(items)} sources gave no output",
            advice="See the messages above, or `failures` in the report",
        )
    return 0


def _tell_withheld(report: Report, output: str) -> None:
    """Say of the one output why it was not released.

    Raises:
        VerificationError: It was not.
    """
    from veilbox.orchestrate.verdict import withheld  # noqa: PLC0415

    for failure in report.failures:
        if failure.verification is not None:
            raise withheld(failure.verification, output, Path(failure.quarantine) if failure.quarantine else None)


def _tell_unkept(report: Report) -> None:
    """Say of each source that should have gone why it is still there.

    Raises:
        PartialFailure: There is one.
    """
    from veilbox.orchestrate.retention import unkept  # noqa: PLC0415

    staying = unkept((output.source, output.source_fate) for output in report.outputs)
    for error in staying:
        sys.stderr.write(f"veilbox: {error}\n")
    if staying:
        raise PartialFailure(
            f"{len(staying)} sources are still there",
            advice="See the messages above, or `source_fate` in the report; every output was released",
        )


def _write_report(path: Path, document: dict[str, object]) -> None:
    try:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError("cannot write the report", where=str(path), actual=str(error.strerror)) from error
