"""`veilbox model sign MODEL...`."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from veilbox.cli.image.rendering import say
from veilbox.cli.image.sign import add_signing_options, signing_key


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "sign",
        help="sign models, their cards included",
        description="Sign models of this machine as cosign does. Signatures of other keys stay.",
        epilog="example:\n  veilbox model sign faces --key release.key --repository registry.example.org/veilbox",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", metavar="NAME[@DIGEST]", help="as `veilbox model list` prints it")
    add_signing_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Sign every model that is named, as PREFIX/model-NAME."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.models.artifact import ModelArtifact, model_name  # noqa: PLC0415
    from veilbox.oci.models.shelf import find  # noqa: PLC0415
    from veilbox.oci.models.sign import sign_model  # noqa: PLC0415
    from veilbox.oci.trust.signature import LOCAL  # noqa: PLC0415

    store = ImageStore.default()
    key = signing_key(arguments, store.root / "trust")
    for text in arguments.models:
        name, descriptor = find(store, text)
        reference = f"{arguments.repository.rstrip('/') or LOCAL}/{model_name(name)}"
        sign_model(store, ModelArtifact.of(store, descriptor), key, reference=reference, now=datetime.now(UTC))
        say(f"{name}@{descriptor.digest}: signed as {reference} by {key.public.key_id}")
    return 0
