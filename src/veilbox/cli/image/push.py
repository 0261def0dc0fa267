"""`veilbox image push NAME... TARGET`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import veilbox
from veilbox.cli.image.connecting import add_connection_options, connected
from veilbox.cli.image.moving import COLUMNS, moved_row
from veilbox.cli.image.rendering import print_rows, say
from veilbox.core.errors import UsageError

if TYPE_CHECKING:
    from veilbox.oci.registry.reference import Reference

_EPILOG = """\
examples:
  veilbox image push ingest registry.example.org/veilbox/ingest:1.0
  veilbox image push ingest anonymize export registry.example.org/veilbox/
  veilbox image push registry.example.org/veilbox/

A TARGET that ends in / takes any number of images, every component without NAME; each becomes TARGET/NAME with this
veilbox's version as its tag. Signatures, SBOMs and attestations go along.
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "push",
        help="push images to a registry",
        description="Push images with their signatures, SBOMs and attestations; what the registry has is not sent.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="an image of this machine")
    parser.add_argument("target", metavar="TARGET", help="HOST/PATH:TAG for one image, HOST/PATH/ for several")
    parser.add_argument("--tag", metavar="TAG", help="with HOST/PATH/: instead of this veilbox's version")
    add_connection_options(parser)
    parser.add_argument("--json", action="store_true", help="print what was moved as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Push each image in turn; layers that they share are sent once and mounted."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.registry.images import push  # noqa: PLC0415

    store = ImageStore.default()
    targets = targets_of(arguments.names, arguments.target, arguments.tag)
    rows: list[dict[str, object]] = []
    with connected(arguments, store.root) as connection:
        for name, reference in targets.items():
            say(f"{name}: pushing to {reference}")
            rows.append(moved_row(name, str(reference), push(store, connection, name, reference, say)))
    print_rows(rows, COLUMNS, as_json=arguments.json)
    return 0


def targets_of(names: list[str], target: str, tag: str | None) -> dict[str, Reference]:
    """Which image goes where.

    Raises:
        UsageError: Several images for one reference, or a tag for what has one.
    """
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.registry.reference import parse_reference  # noqa: PLC0415

    if target.endswith("/"):
        default = tag or veilbox.__version__
        return {name: parse_reference(f"{target}{name}:{default}") for name in names or image_names()}
    if len(names) != 1 or tag is not None:
        raise UsageError(
            "one image for one reference",
            where=target,
            expected="NAME HOST/PATH:TAG",
            actual=f"{len(names)} names" + (" and --tag" if tag is not None else ""),
            advice="End the target in / to push several",
        )
    return {names[0]: parse_reference(target)}
