"""`veilbox image copy FROM TO`."""

from __future__ import annotations

import argparse

from veilbox.cli.image.connecting import add_connection_options, connected
from veilbox.cli.image.moving import COLUMNS, moved_row
from veilbox.cli.image.rendering import print_rows, say

_EPILOG = """\
example:
  veilbox image copy registry.example.org/veilbox/ingest:1.0 mirror.example.net:5000/veilbox/ingest:1.0
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "copy",
        help="copy an image from one registry to another",
        description="Copy an image, or an index with all its images, with everything that speaks of it.\n"
        "Nothing is stored here; within one registry layers are mounted, not sent.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("origin", metavar="FROM", help="HOST/PATH:TAG or HOST/PATH@DIGEST")
    parser.add_argument("target", metavar="TO", help="HOST/PATH:TAG")
    add_connection_options(parser)
    parser.add_argument("--json", action="store_true", help="print what was moved as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Copy one image."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.registry.images import copy  # noqa: PLC0415
    from veilbox.oci.registry.reference import parse_reference  # noqa: PLC0415

    origin, target = parse_reference(arguments.origin), parse_reference(arguments.target)
    with connected(arguments, ImageStore.default().root) as connection:
        moved = copy(connection, origin, target, say)
    print_rows([moved_row(str(origin), str(target), moved)], COLUMNS, as_json=arguments.json)
    return 0
