"""`veilbox model verify [NAME...]`."""

from __future__ import annotations

import argparse

from veilbox.cli.image.rendering import print_rows, say
from veilbox.core.errors import UsageError


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "verify",
        help="hold models to the trust policy, and try them",
        description="Hold models to the trust policy and their digests, and try each in a sealed detector.",
        epilog="examples:\n  veilbox model verify\n  veilbox model verify faces --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every model that is in use")
    parser.add_argument("--all", action="store_true", help="every model that this machine holds")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Verify models; all are looked at."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.model_changes import listed_models, verify_models  # noqa: PLC0415

    if arguments.all and arguments.names:
        raise UsageError("either names or --all")
    store = ImageStore.default()
    known = listed_models(store)
    unknown = sorted({*arguments.names} - {model.name for model in known})
    if unknown:
        names = sorted({model.name for model in known})
        raise UsageError("no such model", expected=", ".join(names), actual=", ".join(unknown))
    wanted = tuple(
        model
        for model in known
        if arguments.all or model.name in arguments.names or (not arguments.names and model.in_use)
    )
    faults = verify_models(store, wanted)
    rows: list[dict[str, object]] = [
        {
            "name": model.name,
            "version": model.version.text if model.version else f"image {model.image}",
            "state": "refused" if fault else "holds",
            "digest": model.card.digest,
            "error": str(fault or ""),
        }
        for model, fault in zip(wanted, faults, strict=True)
    ]
    columns = {"model": "name", "version": "version", "state": "state", "weights": "digest"}
    print_rows(rows, columns, as_json=arguments.json)
    bad = [fault for fault in faults if fault is not None]
    for fault in bad:
        say(f"veilbox: {fault}")
    return bad[0].exit_code if bad else 0
