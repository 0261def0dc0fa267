"""`veilbox image build|list`: the component images of this machine."""

from __future__ import annotations

import argparse
import json
import sys

from rich.console import Console
from rich.table import Table

_EPILOG = """\
examples:
  veilbox image build
  veilbox image build anonymize export
  veilbox image list --json
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "image",
        help="build and list the component images",
        description="Build and list the component images of this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    build = actions.add_parser(
        "build",
        help="build images from Debian packages and PyPI wheels, without a daemon",
        epilog="example:\n  veilbox image build",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.add_argument("names", nargs="*", metavar="NAME", help="default: every image")
    build.add_argument("--refresh", action="store_true", help="look for newer Debian packages")
    build.add_argument("--json", action="store_true", help="print digests and sizes as JSON")
    build.set_defaults(run=run_build)
    listing = actions.add_parser(
        "list",
        help="list images with digests and layers",
        epilog="example:\n  veilbox image list --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    listing.add_argument("--json", action="store_true", help="print as JSON")
    listing.set_defaults(run=run_list)


def run_build(arguments: argparse.Namespace) -> int:
    """Build images; those that are up to date are left as they are."""
    from veilbox.oci.image.build import build  # noqa: PLC0415
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415

    store = ImageStore.default()
    names = arguments.names or image_names()
    built = build(store, names, _say, refresh=arguments.refresh)
    rows: list[dict[str, object]] = [
        {
            "name": image.name,
            "digest": str(image.manifest),
            "rebuilt": image.rebuilt,
            "layers": [{"name": layer.name, "digest": str(layer.digest), "size": layer.size} for layer in image.layers],
        }
        for image in built
    ]
    _print(rows, as_json=arguments.json)
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """List the images that can run now."""
    from veilbox.oci.admit import admit  # noqa: PLC0415
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415

    store = ImageStore.default()
    admitted = [admit(store, name) for name in image_names()]
    rows: list[dict[str, object]] = [
        {
            "name": image.name,
            "digest": str(image.manifest),
            "model": str(image.model) if image.model else "",
            "layers": [{"name": path.name, "digest": f"sha256:{path.name}", "size": 0} for path in image.layers],
        }
        for image in admitted
    ]
    _print(rows, as_json=arguments.json)
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _print(rows: list[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    table = Table()
    for heading in ("image", "digest", "layers"):
        table.add_column(heading)
    for row in rows:
        layers = row["layers"]
        count = len(layers) if isinstance(layers, list) else 0
        table.add_row(str(row["name"]), str(row["digest"]), str(count))
    Console(file=sys.stdout, highlight=False, markup=False).print(table)
