"""`veilbox image list`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from veilbox.cli.image.rendering import print_rows, say
from veilbox.core.errors import ImageError

if TYPE_CHECKING:
    from veilbox.oci.admit import Trust
    from veilbox.oci.examine import Held
    from veilbox.oci.image.store import ImageStore


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "list",
        help="list everything that this machine holds",
        description="List the components, and every image, index and artifact that was pulled, loaded or built for "
        "others.\nA component's state is what a job would be told: `admitted`, or why not.",
        epilog="example:\n  veilbox image list --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List what the store holds; components that are missing too."""
    from veilbox.oci.admit import Trust  # noqa: PLC0415
    from veilbox.oci.examine import held  # noqa: PLC0415
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.image.spec import LAYER_NAME  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415

    store = ImageStore.default()
    trust = Trust.of(store)
    found = held(store)
    missing = sorted(set(image_names()) - {one.name for one in found})
    rows: list[dict[str, object]] = [
        {
            "name": one.name,
            "kind": one.kind.value,
            "digest": str(one.descriptor.digest),
            "layers": [
                {"name": layer.annotations.get(LAYER_NAME, ""), "digest": str(layer.digest), "size": layer.size}
                for layer in one.layers
            ],
        }
        | _state(store, one, trust)
        for one in found
    ]
    rows += [
        {"name": name, "kind": "component", "digest": "", "layers": [], "state": "missing", "model": "", "error": ""}
        for name in missing
    ]
    columns = {"image": "name", "kind": "kind", "state": "state", "digest": "digest", "layers": "layers"}
    print_rows(rows, columns, as_json=arguments.json)
    for row in rows:
        if row["error"]:
            say(f"veilbox: {row['error']}")
    return 0


def _state(store: ImageStore, one: Held, trust: Trust) -> dict[str, object]:
    """Whether jobs can run it; what is no component only lies here."""
    from veilbox.oci.admit import admit  # noqa: PLC0415
    from veilbox.oci.examine import Kind  # noqa: PLC0415

    if one.kind is not Kind.COMPONENT:
        return {"state": "damaged" if one.kind is Kind.DAMAGED else "stored", "model": "", "error": ""}
    try:
        image = admit(store, one.name, trust=replace(trust, remembers=False))
    except ImageError as error:
        return {"state": "refused", "model": "", "error": str(error)}
    return {"state": "admitted", "model": str(image.model) if image.model else "", "error": ""}
