"""`veilbox image gc`."""

from __future__ import annotations

import argparse

from veilbox.cli.image.rendering import print_rows
from veilbox.core.errors import UsageError

_EPILOG = """\
examples:
  veilbox image gc --dry-run
  veilbox image gc
  veilbox image gc --forget registry.example.org/other/image:3
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "gc",
        help="remove what no image needs",
        description="Remove blobs and unpacked layers that no image needs.\n"
        "What runs, or is being pulled, pushed or saved right now, stays; a build is waited for.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--forget", action="append", default=[], metavar="NAME", help="an image to give up; repeatable")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Collect."""
    from veilbox.oci.image.garbage import collect  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415

    store = ImageStore.default()
    if arguments.forget and arguments.dry_run:
        raise UsageError("nothing is forgotten by a dry run", where="--forget", advice="Leave out one of the two")
    for name in arguments.forget:
        if not store.layout.forget(name):
            raise UsageError("no such image", where="--forget", actual=name, advice="See veilbox image df")
    gone = collect(store, dry_run=arguments.dry_run)
    rows: list[dict[str, object]] = [
        {"kind": "blobs", "bytes": gone.blob_bytes, "count": len(gone.blobs), "digests": [*map(str, gone.blobs)]},
        {"kind": "layers", "bytes": gone.layer_bytes, "count": len(gone.layers), "digests": [*map(str, gone.layers)]},
    ]
    heading = "would go" if arguments.dry_run else "removed"
    print_rows(rows, {heading: "kind", "count": "count", "bytes": "bytes"}, as_json=arguments.json)
    return 0
