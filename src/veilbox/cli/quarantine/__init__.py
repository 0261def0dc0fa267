"""`veilbox quarantine`: outputs that verify held back."""

from __future__ import annotations

import argparse

from veilbox.cli.quarantine import listing, release

_EPILOG = """\
examples:
  veilbox quarantine list
  veilbox decrypt <path> -o look.mp4
  veilbox quarantine release 1f2e3d4c/0 --reason false-alarm -o street.mp4
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "quarantine",
        help="list and release outputs that verify held back",
        description="Outputs that verify held back lie encrypted in the store until somebody decides, or a purge.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    for action in (listing, release):
        action.register(actions)
