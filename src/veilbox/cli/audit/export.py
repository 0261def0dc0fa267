"""`veilbox audit export JOB`: a bundle that another person verifies offline."""

from __future__ import annotations

import argparse
from pathlib import Path

from veilbox.cli.audit.places import add_log, log_folder, read_json, write_json


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "export",
        help="write a job's bundle",
        description="Write a job's entries, proofs, checkpoint, policy and attestation, and its report if given.",
        epilog="example:\n  veilbox audit export 5f0b83b0 -o job.json --report report.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("job", metavar="JOB", help="the job's id, as in its summary and report")
    add_log(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="the job's report; it names files, and the log holds its digest"
    )
    parser.add_argument(
        "--envelope", type=Path, metavar="FILE", help="also write the attestation alone: in-toto Statement in DSSE"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the bundle."""
    from veilbox.orchestrate.audit_reader import LogReader  # noqa: PLC0415

    report = read_json(arguments.report) if arguments.report else None
    with LogReader.open(log_folder(arguments)) as log:
        bundle = log.job_bundle(arguments.job, report)
    write_json(bundle, arguments.output)
    if arguments.envelope is not None:
        write_json(bundle["envelope"], arguments.envelope)
    return 0
