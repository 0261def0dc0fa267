"""`veilbox decrypt FILE -o OUT`."""

from __future__ import annotations

import argparse
from pathlib import Path

_EPILOG = """\
example:
  veilbox decrypt street.mp4.veilbox -o street.mp4
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "decrypt",
        help="open an encrypted source or an output in quarantine",
        description="Open a source that `--source encrypt` left, or an output in quarantine, with its key in this\n"
        "machine's store. The audit log is told who did so before the content has a name.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="an encrypted file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists already")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the content as it was."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.audit_session import audit_session  # noqa: PLC0415
    from veilbox.orchestrate.sealed_sources import key_of, open_sealed  # noqa: PLC0415
    from veilbox.orchestrate.staging import check_free  # noqa: PLC0415

    store = ImageStore.default()
    check_free(arguments.output, replace=arguments.overwrite)
    job, _, purpose = key_of(store.root, arguments.file).partition("-")
    with audit_session(store) as trail:

        def told(digest: str) -> None:
            trail.decided(f"decrypt-{purpose}", digest=digest, of=job)
            trail.flush()

        open_sealed(store.root, arguments.file, arguments.output, replace=arguments.overwrite, told=told)
    return 0
