"""`veilbox doctor`: what this machine offers, and what to install for more."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from veilbox.core.errors import MachineError

if TYPE_CHECKING:
    from veilbox.oci.runtime.facts import Fact

_EPILOG = """\
example:
  veilbox doctor --json

exit status: 0 if jobs can run here, 5 if something required is missing
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "doctor",
        help="what this machine offers, and what to install for more",
        description="Tell what this machine offers: runtimes, namespaces, control groups, overlay, Landlock, GPU, KVM.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print facts as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look at the machine and at the images; fail if something required is missing."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.runtime.facts import machine_facts  # noqa: PLC0415
    from veilbox.orchestrate.image_facts import image_fact  # noqa: PLC0415

    facts = (*machine_facts(), image_fact(ImageStore.default()))
    if arguments.json:
        sys.stdout.write(json.dumps([dataclasses.asdict(fact) for fact in facts]) + "\n")
    else:
        _print(facts)
    missing = [fact.name for fact in facts if fact.required and not fact.ok]
    if missing:
        raise MachineError("jobs cannot run here", actual=f"missing: {', '.join(missing)}", advice="See the table")
    return 0


def _print(facts: Sequence[Fact]) -> None:
    from rich.console import Console  # noqa: PLC0415 - as long as all else that a command imports
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="veilbox doctor")
    for heading in ("", "what", "state", "for more"):
        table.add_column(heading)
    for fact in facts:
        mark = "ok" if fact.ok else ("MISSING" if fact.required else "-")
        table.add_row(mark, fact.name, fact.state, fact.advice)
    Console(file=sys.stdout, highlight=False, markup=False).print(table)
