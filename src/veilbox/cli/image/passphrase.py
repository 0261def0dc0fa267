"""Where the passphrase of a key file comes from.

Never from the command line, which every user of a machine can read.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path

from veilbox.core.errors import UsageError

# The second is cosign's, so that one setting serves both programs.
VARIABLES = ("VEILBOX_PASSPHRASE", "COSIGN_PASSWORD")


def add_passphrase_option(parser: argparse.ArgumentParser) -> None:
    """Add `--passphrase-file`."""
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help=f"its first line opens the key; default: ${' or $'.join(VARIABLES)}, else the terminal is asked",
    )


def passphrase(arguments: argparse.Namespace, *, new: bool) -> bytes:
    """The passphrase.

    Args:
        arguments: With `passphrase_file`.
        new: Whether it is for a new key, so that a typed one is asked for twice.

    Raises:
        UsageError: There is none, or the two differ.
    """
    if arguments.passphrase_file is not None:
        return _first_line(arguments.passphrase_file)
    for name in VARIABLES:
        if name in os.environ:
            return os.environ[name].encode("utf-8", "surrogateescape")
    if not sys.stdin.isatty():
        raise UsageError("no passphrase", advice=f"Set {VARIABLES[0]}, or give --passphrase-file")
    typed = getpass.getpass("Passphrase of the key: ")
    if new and typed != getpass.getpass("Again: "):
        raise UsageError("the two passphrases differ")
    return typed.encode()


def _first_line(path: Path) -> bytes:
    try:
        return path.read_bytes().partition(b"\n")[0].removesuffix(b"\r")
    except OSError as error:
        raise UsageError("cannot be read", where=str(path), actual=error.strerror or str(error)) from error
