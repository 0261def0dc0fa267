"""`veilbox image build [NAME...]`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from veilbox.cli.image.rendering import print_rows, say
from veilbox.core.errors import UsageError

if TYPE_CHECKING:
    from veilbox.oci.image.locks import Choice


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "build",
        help="build images from Debian packages and PyPI wheels, without a daemon",
        epilog="examples:\n  veilbox image build\n  veilbox image build anonymize export\n"
        "  veilbox image build --platform linux/arm64 --compression zstd",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every image")
    packages = parser.add_mutually_exclusive_group()
    packages.add_argument("--refresh", action="store_true", help="take the newest Debian packages, not the lock's")
    packages.add_argument(
        "--newer-if-gone", action="store_true", help="take the newest where those of the lock are no longer offered"
    )
    parser.add_argument(
        "--compression", choices=["gzip", "zstd"], default="gzip", help="of layers; gzip is read by every tool"
    )
    parser.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="linux/ARCH",
        help="build for other machines too (linux/amd64, linux/arm64), with an index over all; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="print digests and sizes as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build images; those that are up to date are left as they are."""
    from veilbox.oci.image.build import build, stored_names  # noqa: PLC0415
    from veilbox.oci.image.compression import Compression  # noqa: PLC0415
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.trust.endorse import endorse_built  # noqa: PLC0415

    names = arguments.names or image_names()
    store = ImageStore.default()
    built = build(
        store,
        names,
        say,
        choice=_choice(arguments),
        compression=Compression(arguments.compression),
        architectures=[architecture_of(platform) for platform in arguments.platform],
    )
    for name in endorse_built(store, stored_names(built, indexed=bool(arguments.platform))):
        say(f"{name}: signed with this machine's key")
    rows: list[dict[str, object]] = [
        {
            "name": image.name,
            "platform": f"linux/{image.architecture}",
            "digest": str(image.manifest),
            "rebuilt": image.rebuilt,
            "layers": [{"name": layer.name, "digest": str(layer.digest), "size": layer.size} for layer in image.layers],
        }
        for image in built
    ]
    print_rows(
        rows, {"image": "name", "platform": "platform", "digest": "digest", "layers": "layers"}, as_json=arguments.json
    )
    return 0


def architecture_of(platform: str) -> str:
    """The architecture of a platform in OCI's words.

    Raises:
        UsageError: It is not Linux, or says no architecture.
    """
    system, slash, architecture = platform.partition("/")
    if system != "linux" or not slash or not architecture:
        raise UsageError("no such platform", where="--platform", expected="linux/amd64 or linux/arm64", actual=platform)
    return architecture


def _choice(arguments: argparse.Namespace) -> Choice:
    from veilbox.oci.image.locks import Choice  # noqa: PLC0415

    if arguments.refresh:
        return Choice.NEWEST
    return Choice.NEWER_IF_GONE if arguments.newer_if_gone else Choice.LOCKED
