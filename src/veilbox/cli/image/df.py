"""`veilbox image df`."""

from __future__ import annotations

import argparse
import json
import sys

from veilbox.cli.image.rendering import print_rows

_EPILOG = """\
example:
  veilbox image df --json

Bytes of blobs (as registries count) and on disk, unpacked. "unique" is what only that image has; "shared" is on disk
once, however many images have it.
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "df",
        help="show what images cost on disk",
        description="Show every image of this machine with its unique and its shared bytes.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure the store."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.image.store_usage import store_usage  # noqa: PLC0415

    usage = store_usage(ImageStore.default())
    rows: list[dict[str, object]] = [
        {
            "name": image.name,
            "digest": image.digest.text,
            "unique": image.compressed.unique,
            "shared": image.compressed.shared,
            "unpacked_unique": image.unpacked.unique,
            "unpacked_shared": image.unpacked.shared,
        }
        for image in usage.images
    ]
    totals = {name: getattr(usage, name) for name in ("compressed", "unpacked", "cache", "removable", "damaged")}
    if arguments.json:
        sys.stdout.write(json.dumps({"images": rows, **totals}) + "\n")
        return 0
    columns = {
        "image": "name",
        "unique": "unique",
        "shared": "shared",
        "unpacked unique": "unpacked_unique",
        "unpacked shared": "unpacked_shared",
    }
    print_rows(rows, columns, as_json=False)
    sys.stdout.write("".join(f"{name:<11} {_shown(value)}\n" for name, value in totals.items()))
    return 0


def _shown(value: object) -> str:
    return f"{value:>15,}" if isinstance(value, int) else ", ".join(map(str, value)) if isinstance(value, tuple) else ""
