"""`veilbox image pull REFERENCE...`."""

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
  veilbox image pull registry.example.org/veilbox/
  veilbox image pull registry.example.org/veilbox/detect-centerface:1.0 --name detect-centerface
  veilbox image pull registry.example.org/other/image:3

A REFERENCE that ends in / pulls every component for use by jobs: HOST/PATH/NAME with this veilbox's version as its tag.
Under a component's name an image must be accepted by the trust policy; others are only stored, under their reference.
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "pull",
        help="pull images from a registry",
        description="Pull images with their signatures, SBOMs and attestations; what is here is not fetched again.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "references", nargs="+", metavar="REFERENCE", help="HOST/PATH:TAG, HOST/PATH@DIGEST or HOST/PATH/"
    )
    parser.add_argument("--name", metavar="NAME", help="with one REFERENCE: its name here")
    parser.add_argument("--tag", metavar="TAG", help="with HOST/PATH/: instead of this veilbox's version")
    add_connection_options(parser)
    parser.add_argument("--json", action="store_true", help="print what was moved as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Pull each image in turn."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.pull import pull  # noqa: PLC0415

    store = ImageStore.default()
    wanted = wanted_of(arguments.references, arguments.name, arguments.tag)
    rows: list[dict[str, object]] = []
    with connected(arguments, store.root) as connection:
        for name, reference in wanted.items():
            say(f"{name}: pulling {reference}")
            rows.append(moved_row(name, str(reference), pull(store, connection, reference, name, say)))
    print_rows(rows, COLUMNS, as_json=arguments.json)
    return 0


def wanted_of(references: list[str], name: str | None, tag: str | None) -> dict[str, Reference]:
    """Which reference becomes which image.

    Raises:
        UsageError: One name for several references, or a tag for what has one.
    """
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.registry.reference import parse_reference  # noqa: PLC0415

    wanted: dict[str, Reference] = {}
    for text in references:
        if text.endswith("/"):
            wanted |= {one: parse_reference(f"{text}{one}:{tag or veilbox.__version__}") for one in image_names()}
        elif tag is not None:
            raise UsageError("the reference has its tag already", where="--tag", actual=text)
        else:
            reference = parse_reference(text)
            wanted[name or str(reference)] = reference
    if name is not None and (len(references) != 1 or references[0].endswith("/")):
        raise UsageError("one name for several images", where="--name", expected="one REFERENCE")
    return wanted
