"""`veilbox image save [NAME...] -o FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from veilbox.cli.image.rendering import print_rows

_EPILOG = """\
examples:
  veilbox image save -o veilbox-images.tar
  veilbox image save ingest detect-centerface -o two.tar

The file is a tar of an OCI image layout (`oci-archive:` to skopeo and podman), with signatures, SBOMs and attestations,
and with this machine's trust policy and its public keys for the other side to read.
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "save",
        help="write images into one file, for a machine without a network",
        description="Write images with everything that speaks of them into one file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every component")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="the archive")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write an archive."""
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.pull import trust_notes  # noqa: PLC0415
    from veilbox.oci.registry.images import save  # noqa: PLC0415

    store = ImageStore.default()
    names = arguments.names or list(image_names())
    size = save(store, names, trust_notes(store), arguments.output)
    rows: list[dict[str, object]] = [{"file": str(arguments.output), "images": names, "bytes": size}]
    print_rows(rows, {"file": "file", "images": "images", "bytes": "bytes"}, as_json=arguments.json)
    return 0
