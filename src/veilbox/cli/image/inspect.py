"""`veilbox image inspect NAME|REFERENCE`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from veilbox.cli.image.connecting import add_connection_options, connected
from veilbox.core.errors import ImageError, printable

if TYPE_CHECKING:
    from veilbox.oci.registry.content import Source
    from veilbox.oci.registry.images import Connection

_EPILOG = """\
examples:
  veilbox image inspect ingest
  veilbox image inspect registry.example.org/veilbox/ingest:1.0 --json
  veilbox image inspect registry.example.org/veilbox/ingest --tags
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "inspect",
        help="show what an image is made of",
        description="Show an image's manifest, configuration and what speaks of it, without pulling its layers.\n"
        "Nothing is judged: see `veilbox image verify`.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", metavar="IMAGE", help="NAME of this machine, or HOST/PATH:TAG")
    parser.add_argument("--tags", action="store_true", help="list the tags of HOST/PATH instead")
    add_connection_options(parser)
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show one image, or one repository's tags."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415

    store = ImageStore.default()
    with connected(arguments, store.root) as connection:
        if arguments.tags:
            return _print_tags(connection, arguments.image, as_json=arguments.json)
        facts = _local_facts(arguments.image) or _remote_facts(connection, arguments.image)
    sys.stdout.write(json.dumps(facts) + "\n" if arguments.json else _text(facts))
    return 0


def _print_tags(connection: Connection, text: str, *, as_json: bool) -> int:
    from veilbox.oci.registry.reference import parse_repository  # noqa: PLC0415

    tags = connection.repository(parse_repository(text)).tags()
    sys.stdout.write(json.dumps(tags) + "\n" if as_json else "".join(f"{printable(tag)}\n" for tag in tags))
    return 0


def _local_facts(name: str) -> dict[str, object] | None:
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.registry.local import LayoutPlace  # noqa: PLC0415

    if "/" in name:
        layout = ImageStore.default().layout
        return _facts(LayoutPlace(layout), name, name) if layout.resolve(name) is not None else None
    return _facts(LayoutPlace(ImageStore.default().layout), name, name)


def _remote_facts(connection: Connection, text: str) -> dict[str, object]:
    from veilbox.oci.registry.reference import parse_reference  # noqa: PLC0415

    reference = parse_reference(text)
    return _facts(connection.source(reference.repository), reference.target, text)


def _facts(source: Source, name: str, shown: str) -> dict[str, object]:
    from veilbox.oci.registry.facts import image_facts  # noqa: PLC0415

    found = source.resolve(name)
    if found is None:
        raise ImageError("image is not there", where=shown, advice="See what is: veilbox image df")
    return {"name": shown, **image_facts(source, found)}


def _text(facts: dict[str, object]) -> str:
    lines: list[str] = []
    for key, value in facts.items():
        if isinstance(value, list):
            lines.extend(f"{key:<12} {printable(json.dumps(one))}" for one in value)
        else:
            lines.append(f"{key:<12} {printable(value if isinstance(value, str) else json.dumps(value))}")
    return "\n".join(lines) + "\n"
