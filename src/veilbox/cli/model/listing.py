"""`veilbox model list`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from veilbox.cli.image.rendering import print_rows

if TYPE_CHECKING:
    from veilbox.orchestrate.model_changes import ListedModel


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "list",
        help="list models with what their cards say",
        description="List the models that images carry and those that were added or pulled.",
        epilog="example:\n  veilbox model list --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print as JSON, with sources and training data")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List every model."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.model_changes import listed_models  # noqa: PLC0415

    rows = [model_row(model) for model in listed_models(ImageStore.default())]
    columns = {
        "model": "name",
        "version": "version",
        "in use": "in_use",
        "classes": "classes",
        "licence": "licence",
        "recall": "recall",
    }
    print_rows(rows, columns, as_json=arguments.json)
    return 0


def model_row(model: ListedModel) -> dict[str, object]:
    """One model's line."""
    card = model.card
    return {
        "name": model.name,
        "version": model.version.text if model.version else f"image {model.image}",
        "in_use": model.in_use,
        "classes": ", ".join(card.classes),
        "licence": card.licence,
        "recall": card.measured,
        "digest": card.digest,
        "source": card.source,
        "training_data": card.training_data,
    }
