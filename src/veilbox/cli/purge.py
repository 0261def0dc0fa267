"""`veilbox purge --older-than AGE`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time

from veilbox.core.errors import printable

_EPILOG = """\
examples:
  veilbox purge --older-than 30d --dry-run
  veilbox purge --older-than 30d

An age is a number and s, m, h, d or w. The key goes first, so nobody opens what it sealed, then the audit log is told,
then the files go.
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "purge",
        help="destroy encrypted sources and outputs in quarantine by age",
        description="Destroy the keys of encrypted sources and outputs in quarantine of a certain age, and the files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--older-than", required=True, metavar="AGE", help="for example 30d")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument("--json", action="store_true", help="print what went as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Purge, and print what went."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.orchestrate.audit_session import audit_session  # noqa: PLC0415
    from veilbox.orchestrate.purge import age_s, purge  # noqa: PLC0415

    store = ImageStore.default()
    before_s = time.time() - age_s(arguments.older_than)
    purged = purge(store.root, before_s, lambda: audit_session(store), dry_run=arguments.dry_run)
    if arguments.json:
        sys.stdout.write(json.dumps([dataclasses.asdict(one) for one in purged]) + "\n")
        return 0
    word = "would go" if arguments.dry_run else "destroyed"
    for one in purged:
        sys.stdout.write(f"{word}  {one.what} {one.job}/{one.item} {printable(one.path)}\n")
    return 0
