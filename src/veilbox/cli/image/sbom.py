"""`veilbox image sbom NAME`."""

from __future__ import annotations

import argparse
import sys


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "sbom",
        help="print what is in an image",
        description="Print an image's SBOM: Debian packages, wheels and models with versions and licences.\n"
        "It is the document that was attached when the image was signed.",
        epilog="examples:\n  veilbox image sbom ingest\n  veilbox image sbom detect-centerface --format spdx",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="of this machine, as `veilbox image list` prints it")
    parser.add_argument("--format", choices=("cyclonedx", "spdx"), default="cyclonedx", help="default: cyclonedx")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print an SBOM."""
    from veilbox.core.errors import ImageError  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.trust.endorse import Opened  # noqa: PLC0415
    from veilbox.oci.trust.evidence import read_referrer  # noqa: PLC0415
    from veilbox.oci.trust.sbom import CYCLONEDX_TYPE, SPDX_TYPE  # noqa: PLC0415

    store = ImageStore.default()
    image = Opened.of(store, arguments.name)
    kind = CYCLONEDX_TYPE if arguments.format == "cyclonedx" else SPDX_TYPE
    document = read_referrer(store.layout, image.manifest.digest, kind)
    if document is None:
        raise ImageError("image has no SBOM", where=image.name, advice=f"Make one: veilbox image sign {image.name}")
    sys.stdout.write(document.decode() + "\n")
    return 0
