"""`veilbox model add FILE --card CARD`."""

from __future__ import annotations

import argparse
from pathlib import Path

from veilbox.cli.image.rendering import print_rows
from veilbox.cli.image.sign import add_signing_options, signing_key

_EPILOG = """\
examples:
  veilbox model add faces.onnx --card card.json
  veilbox model add faces.onnx --card card.json --use

The file is loaded and tried in a sealed detector before it gets a name. How a card is written stands in
docs/how-to/bring-a-model.md.
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "add",
        help="take in an ONNX file with its card",
        description="Take an ONNX file with its card into the store, try it in a sealed detector, and sign it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the model, ONNX")
    parser.add_argument("--card", type=Path, required=True, metavar="FILE", help="its card, JSON")
    parser.add_argument("--name", metavar="NAME", help="instead of the card's")
    parser.add_argument("--use", action="store_true", help="let the next job take it")
    add_signing_options(parser)
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Add a model."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.trust.signature import LOCAL  # noqa: PLC0415
    from veilbox.orchestrate.model_changes import add_model  # noqa: PLC0415

    store = ImageStore.default()
    added = add_model(
        store,
        arguments.file,
        arguments.card,
        signing_key(arguments, store.root / "trust"),
        name=arguments.name,
        prefix=arguments.repository.rstrip("/") or LOCAL,
        use=arguments.use,
    )
    rows: list[dict[str, object]] = [
        {
            "name": added.card.name,
            "version": added.digest.text,
            "digest": added.card.digest,
            "bytes": added.layer.size,
            "in_use": arguments.use,
        }
    ]
    columns = {"model": "name", "version": "version", "weights": "digest", "layer": "bytes", "in use": "in_use"}
    print_rows(rows, columns, as_json=arguments.json)
    return 0
