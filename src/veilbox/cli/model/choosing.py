"""`veilbox model use MODEL` and `veilbox model rollback NAME`."""

from __future__ import annotations

import argparse

from veilbox.cli.image.rendering import say

_USE = """\
examples:
  veilbox model use faces@sha256:4b1c0e6d1f2a
  veilbox model use centerface@image
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the actions' parsers."""
    use = actions.add_parser(
        "use",
        help="let the next job take a model",
        description="Admit a model, try it in a sealed detector, and let jobs take it from now on.",
        epilog=_USE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    use.add_argument("model", metavar="NAME[@DIGEST]", help="NAME@image is the one that the detector's image carries")
    use.set_defaults(run=run_use)
    rollback = actions.add_parser(
        "rollback",
        help="let jobs take the model that was in use before",
        description="Let jobs take the version again that was in use before the present one.",
        epilog="example:\n  veilbox model rollback faces",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rollback.add_argument("name", metavar="NAME", help="of the model")
    rollback.set_defaults(run=run_rollback)


def run_use(arguments: argparse.Namespace) -> int:
    """Choose a model."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.model_changes import use_model  # noqa: PLC0415

    name, version = use_model(ImageStore.default(), arguments.model)
    say(f"{name}: jobs take {version or 'what the image carries'}")
    return 0


def run_rollback(arguments: argparse.Namespace) -> int:
    """Go back one choice."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.model_changes import roll_back  # noqa: PLC0415

    version = roll_back(ImageStore.default(), arguments.name)
    say(f"{arguments.name}: jobs take {version or 'what the image carries'}")
    return 0
