"""`veilbox audit ACTION`: read, prove and verify what the audit log says.

One file for each action: `register(actions)` adds its parser and sets `run`.
"""

from __future__ import annotations

import argparse

from veilbox.cli.audit import export, prove, rotate, show, verify

_EPILOG = """\
examples:
  veilbox audit show --last 5
  veilbox audit verify --key log.pub
  veilbox audit export 5f0b83b0 -o job.json
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "audit",
        help="show, prove and verify the audit log",
        description="Show, prove and verify what the audit log says. No action needs its private key.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    for action in (verify, show, prove, export, rotate):
        action.register(actions)
