"""`veilbox image ACTION`: component images on this machine, in registries and in archives.

One file for each action: `register(actions)` adds its parser and sets `run`. A new action is one more name below.
"""

from __future__ import annotations

import argparse
from typing import Protocol

from veilbox.cli.image import (
    build,
    copy,
    df,
    gc,
    inspect,
    key,
    listing,
    load,
    lock,
    pull,
    push,
    save,
    sbom,
    sign,
    verify,
)


class Action(Protocol):
    """What a file of this package has."""

    def register(self, actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add the action's parser."""


# In the order of `veilbox image --help`.
ACTIONS: tuple[Action, ...] = (
    build,
    lock,
    listing,
    inspect,
    push,
    pull,
    copy,
    save,
    load,
    df,
    gc,
    sign,
    verify,
    sbom,
    key,
)

_EPILOG = """\
examples:
  veilbox image build
  veilbox image list --json
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "image",
        help="build, list and move the component images",
        description="Build, list and move the component images of this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    for action in ACTIONS:
        action.register(actions)
