"""`veilbox audit prove ENTRY`: an entry with its inclusion proof."""

from __future__ import annotations

import argparse
from pathlib import Path

from veilbox.cli.audit.places import add_log, log_folder, write_json


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "prove",
        help="prove that the log holds an entry",
        description="Write a bundle of one entry: its line, its inclusion proof and the checkpoint.",
        epilog="example:\n  veilbox audit prove 6 -o entry.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("entry", type=int, metavar="ENTRY", help="index, from 0")
    add_log(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the proof."""
    from veilbox.orchestrate.audit_reader import LogReader  # noqa: PLC0415

    with LogReader.open(log_folder(arguments)) as log:
        write_json(log.bundle([log.line(arguments.entry)]), arguments.output)
    return 0
