"""`veilbox decrypt FILE -o OUT`."""

from __future__ import annotations

import argparse
from pathlib import Path

_EPILOG = """\
example:
  veilbox decrypt street.mp4.veilbox -o street.mp4
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "decrypt",
        help="open an encrypted source",
        description="Open a source that `--source encrypt` left, with its key in this machine's store.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="an encrypted source")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists already")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the source as it was."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.sealed_sources import open_sealed  # noqa: PLC0415

    open_sealed(ImageStore.default().root, arguments.file, arguments.output, replace=arguments.overwrite)
    return 0
