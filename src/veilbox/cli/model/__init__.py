"""`veilbox model`: the models that detectors run."""

from __future__ import annotations

import argparse

from veilbox.cli.model import add, choosing, listing, moving, sign, verify

_EPILOG = """\
examples:
  veilbox model add faces.onnx --card card.json
  veilbox model use faces@sha256:4b1c...
  veilbox model rollback faces
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "model",
        help="add, choose, move and verify detectors' models",
        description="The models that detectors run: ONNX files with cards, kept and signed as images are.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    for action in (add, listing, choosing, sign, moving, verify):
        action.register(actions)
