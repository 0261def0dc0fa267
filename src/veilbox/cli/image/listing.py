"""`veilbox image list`."""

from __future__ import annotations

import argparse

from veilbox.cli.image.rendering import print_rows


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "list",
        help="list images with digests and layers",
        epilog="example:\n  veilbox image list --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
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
    print_rows(rows, {"image": "name", "digest": "digest", "layers": "layers"}, as_json=arguments.json)
    return 0
