"""Which models a job detects with."""

from __future__ import annotations

import argparse


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Add `--model`."""
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME[@DIGEST]",
        help="detect with this model, as `veilbox model list` prints it; the built-in ones find what it does not; "
        "repeatable",
    )
