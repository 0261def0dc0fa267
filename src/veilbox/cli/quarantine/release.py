"""`veilbox quarantine release JOB/ITEM --reason REASON -o OUT`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from veilbox.core.errors import printable

# Words and not free text: the audit log holds them, and it may not hold what is seen in an output.
REASONS = {
    "false-alarm": "what was found is nothing that was to be hidden",
    "consent": "who is seen agreed",
    "duty": "a law or an order asks for it",
}

_EPILOG = """\
example:
  veilbox quarantine release 1f2e3d4c/0 --reason false-alarm -o street.mp4
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    words = "\n".join(f"  {word:12} {meaning}" for word, meaning in REASONS.items())
    parser = actions.add_parser(
        "release",
        help="release an output from quarantine",
        description="Release an output that verify held back, by your own decision. It must be byte for byte what\n"
        "verify looked at, as the audit log says. The log is told who decided, and why, before OUT has its name.",
        epilog=f"{_EPILOG}\nreasons:\n{words}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output_in_quarantine", metavar="JOB/ITEM", help="as `veilbox quarantine list` prints it")
    parser.add_argument("--reason", required=True, choices=REASONS, help="why; see below")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists already")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Give the output its name."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.audit_session import audit_session  # noqa: PLC0415
    from veilbox.orchestrate.quarantine_release import release  # noqa: PLC0415

    store = ImageStore.default()
    digest = release(
        store.root,
        arguments.output_in_quarantine,
        arguments.output,
        reason=arguments.reason,
        session=lambda: audit_session(store),
        replace=arguments.overwrite,
    )
    sys.stdout.write(f"{digest}  {printable(str(arguments.output))}\n")
    return 0
