"""`veilbox quarantine list`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from veilbox.core.errors import printable


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "list",
        help="list outputs in quarantine",
        description="List outputs in quarantine, the oldest job first: JOB/ITEM, when it was put there, where it is.\n"
        "What was found in each is in the job's report and in `veilbox audit show --job JOB`.",
        epilog="example:\n  veilbox quarantine list --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with the digest of each output")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each output."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.quarantined import QuarantinedOutputs  # noqa: PLC0415

    outputs = QuarantinedOutputs(ImageStore.default().root).everything()
    if arguments.json:
        sys.stdout.write(json.dumps([dataclasses.asdict(one) for one in outputs]) + "\n")
        return 0
    for one in outputs:
        sys.stdout.write(f"{one.job}/{one.item}  {one.kept}  {printable(one.path)}\n")
    return 0
