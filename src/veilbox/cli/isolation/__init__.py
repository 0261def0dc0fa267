"""`veilbox isolation ACTION`: what the walls of this machine's containers are worth.

One file for each action: `register(actions)` adds its parser and sets `run`.
"""

from __future__ import annotations

import argparse

from veilbox.cli.isolation import probe

_EPILOG = """\
example:
  veilbox isolation probe --json
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "isolation",
        help="measure the walls of every component",
        description="Measure what the walls of this machine's containers are worth.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    for action in (probe,):
        action.register(actions)
