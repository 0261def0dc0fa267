"""`veilbox image build [NAME...]`."""

from __future__ import annotations

import argparse

from veilbox.cli.image.rendering import print_rows, say


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "build",
        help="build images from Debian packages and PyPI wheels, without a daemon",
        epilog="examples:\n  veilbox image build\n  veilbox image build anonymize export",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every image")
    parser.add_argument("--refresh", action="store_true", help="look for newer Debian packages")
    parser.add_argument("--json", action="store_true", help="print digests and sizes as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build images; those that are up to date are left as they are."""
    from veilbox.oci.image.build import build  # noqa: PLC0415
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.trust.endorse import endorse_built  # noqa: PLC0415

    names = arguments.names or image_names()
    store = ImageStore.default()
    built = build(store, names, say, refresh=arguments.refresh)
    for name in endorse_built(store, names):
        say(f"{name}: signed with this machine's key")
    rows: list[dict[str, object]] = [
        {
            "name": image.name,
            "digest": str(image.manifest),
            "rebuilt": image.rebuilt,
            "layers": [{"name": layer.name, "digest": str(layer.digest), "size": layer.size} for layer in image.layers],
        }
        for image in built
    ]
    print_rows(rows, {"image": "name", "digest": "digest", "layers": "layers"}, as_json=arguments.json)
    return 0
