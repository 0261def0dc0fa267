"""`veilbox model list|verify`: the models in this machine's images."""

from __future__ import annotations

import argparse

from veilbox.cli.image.rendering import print_rows, say
from veilbox.core.errors import ImageError, UsageError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "model",
        help="list and verify the models in the component images",
        description="List and verify the models in this machine's images.",
        epilog="examples:\n  veilbox model list\n  veilbox model verify",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    for name, words, run in (
        ("list", "list models with classes, licence and digest", run_list),
        ("verify", "hold weights to their digests and check their structure", run_verify),
    ):
        action = actions.add_parser(
            name,
            help=words,
            epilog=f"example:\n  veilbox model {name}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == "verify":
            action.add_argument("names", nargs="*", metavar="MODEL", help="default: every model")
        action.add_argument("--json", action="store_true", help="print as JSON")
        action.set_defaults(run=run)


def run_list(arguments: argparse.Namespace) -> int:
    """List the models of images that may run."""
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.models import models  # noqa: PLC0415

    rows = [
        {
            "name": model.name,
            "image": model.image,
            "classes": ", ".join(model.classes),
            "licence": model.licence,
            "digest": str(model.digest),
            "source": model.source,
        }
        for model in models(ImageStore.default(), image_names())
    ]
    columns = {"model": "name", "image": "image", "classes": "classes", "licence": "licence", "digest": "digest"}
    print_rows(rows, columns, as_json=arguments.json)
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Verify models; all are looked at."""
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.models import models, signed_digest, verify_model  # noqa: PLC0415

    store = ImageStore.default()
    known = models(store, image_names())
    unknown = sorted(set(arguments.names) - {model.name for model in known})
    if unknown:
        raise UsageError("no such model", expected=", ".join(model.name for model in known), actual=", ".join(unknown))
    faults: list[ImageError] = []
    rows: list[dict[str, object]] = []
    for model in known:
        if arguments.names and model.name not in arguments.names:
            continue
        said = ""
        try:
            verify_model(model, signed_digest(store, model))
        except ImageError as error:
            faults.append(error)
            said = str(error)
        state = "refused" if said else "holds"
        rows.append(
            {"name": model.name, "image": model.image, "state": state, "digest": str(model.digest), "error": said}
        )
    print_rows(rows, {"model": "name", "image": "image", "state": "state", "digest": "digest"}, as_json=arguments.json)
    for fault in faults:
        say(f"veilbox: {fault}")
    return faults[0].exit_code if faults else 0
