"""`veilbox audit rotate`: a new segment, so that the last can be archived."""

from __future__ import annotations

import argparse
import sys

from veilbox.cli.audit.places import add_log, log_folder


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "rotate",
        help="begin a new segment",
        description="Begin a new segment of entries. The tree goes on, so every entry stays provable.",
        epilog="example:\n  veilbox audit rotate",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_log(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Begin the segment and print its path."""
    from veilbox.orchestrate.audit_log import rotate  # noqa: PLC0415

    sys.stdout.write(f"{rotate(log_folder(arguments))}\n")
    return 0
