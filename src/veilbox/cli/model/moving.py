"""`veilbox model push MODEL TARGET` and `veilbox model pull REFERENCE...`."""

from __future__ import annotations

import argparse

from veilbox.cli.image.connecting import add_connection_options, connected
from veilbox.cli.image.moving import COLUMNS, moved_row
from veilbox.cli.image.rendering import print_rows, say
from veilbox.core.errors import UsageError


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the actions' parsers."""
    push = actions.add_parser(
        "push",
        help="push a model to a registry",
        description="Push a model with its signatures; what the registry has is not sent.",
        epilog="example:\n  veilbox model push faces registry.example.org/veilbox/model-faces:2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    push.add_argument("model", metavar="NAME[@DIGEST]", help="as `veilbox model list` prints it")
    push.add_argument("target", metavar="TARGET", help="HOST/PATH:TAG")
    push.set_defaults(run=run_push)
    pull = actions.add_parser(
        "pull",
        help="pull models from a registry",
        description="Pull models with their signatures. Only what the trust policy accepts gets a name here.",
        epilog="example:\n  veilbox model pull registry.example.org/veilbox/model-faces:2 --use",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pull.add_argument("references", nargs="+", metavar="REFERENCE", help="HOST/PATH:TAG or HOST/PATH@DIGEST")
    pull.add_argument("--use", action="store_true", help="with one REFERENCE: let the next job take it")
    pull.set_defaults(run=run_pull)
    for parser in (push, pull):
        add_connection_options(parser)
        parser.add_argument("--json", action="store_true", help="print what was moved as JSON")


def run_push(arguments: argparse.Namespace) -> int:
    """Push one model."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.models.shelf import find, tag_of  # noqa: PLC0415
    from veilbox.oci.registry.images import push  # noqa: PLC0415
    from veilbox.oci.registry.reference import parse_reference  # noqa: PLC0415

    store = ImageStore.default()
    name, descriptor = find(store, arguments.model)
    reference = parse_reference(arguments.target)
    with connected(arguments, store.root) as connection:
        moved = push(store, connection, tag_of(name, descriptor.digest), reference, say)
    print_rows([moved_row(name, str(reference), moved)], COLUMNS, as_json=arguments.json)
    return 0


def run_pull(arguments: argparse.Namespace) -> int:
    """Pull each model in turn."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.models.pull import pull_model  # noqa: PLC0415
    from veilbox.oci.registry.reference import parse_reference  # noqa: PLC0415
    from veilbox.orchestrate.model_changes import use_model  # noqa: PLC0415

    if arguments.use and len(arguments.references) != 1:
        raise UsageError("more than one cannot be used", where="--use", expected="one REFERENCE")
    store = ImageStore.default()
    rows: list[dict[str, object]] = []
    with connected(arguments, store.root) as connection:
        for text in arguments.references:
            say(f"pulling {text}")
            model, moved = pull_model(store, connection, parse_reference(text), say)
            rows.append(moved_row(f"{model.name}@{model.manifest}", text, moved))
    if arguments.use:
        use_model(store, str(rows[0]["name"]))
    print_rows(rows, COLUMNS, as_json=arguments.json)
    return 0
