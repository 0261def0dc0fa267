"""`veilbox audit show`: the entries, as they are."""

from __future__ import annotations

import argparse
import json
import sys
from collections import deque
from pathlib import Path

from veilbox.cli.audit.places import add_log, log_folder


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "show",
        help="print entries",
        description="Print entries, one JSON object a line with its index. Shows, does not verify.",
        epilog="examples:\n  veilbox audit show --job 5f0b83b0\n  veilbox audit show --name street.mp4",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_log(parser)
    parser.add_argument("--job", metavar="JOB", help="entries of one job")
    parser.add_argument("--last", type=int, metavar="N", help="the last entries only")
    parser.add_argument("--name", type=Path, metavar="FILE", help="entries about a file, by its path's keyed digest")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print entries."""
    from veilbox.orchestrate.audit_log import keyed_name, names_secret  # noqa: PLC0415
    from veilbox.orchestrate.audit_reader import LogReader  # noqa: PLC0415

    root = log_folder(arguments)
    with LogReader.open(root) as log:
        lines = log.job(arguments.job) if arguments.job else log.lines()
        if arguments.name is not None:
            mark = keyed_name(names_secret(root), str(arguments.name)).encode()
            lines = (line for line in lines if mark in line.data)
        for line in deque(lines, maxlen=arguments.last):
            sys.stdout.write(json.dumps({"index": line.index, **json.loads(line.data)}) + "\n")
    return 0
