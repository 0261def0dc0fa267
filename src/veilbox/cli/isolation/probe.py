"""`veilbox isolation probe`: the job's own probe, in every component, without footage."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from veilbox.core.policy import Runtime

if TYPE_CHECKING:
    from rich.table import Table

    from veilbox.orchestrate.isolation_probe import Probe, ProbeFinding

_EPILOG = """\
examples:
  veilbox isolation probe
  veilbox isolation probe --runtime runc --json
"""
_RUNTIMES = tuple(one.value for one in Runtime if one is not Runtime.AUTO)


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "probe",
        help="let every component try its walls",
        description="Start a job's containers without footage, try their walls from inside, look from the host.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runtime", choices=_RUNTIMES, help="which OCI runtime (default: the one that jobs take)")
    parser.add_argument("--json", action="store_true", help="print levels and findings as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Probe and print; what was found is a result, not a failure."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.runtime.dialect import candidates  # noqa: PLC0415
    from veilbox.orchestrate.isolation_probe import probe_isolation  # noqa: PLC0415

    found = probe_isolation(ImageStore.default(), runtimes=candidates(arguments.runtime or "auto", None))
    if arguments.json:
        sys.stdout.write(json.dumps(_document(found)) + "\n")
    else:
        _print(found)
    return 0


def _document(found: Probe) -> dict[str, object]:
    return {
        "runtime": found.runtime,
        "kernel": found.kernel,
        "components": {
            name: {"level": int(measured.level), "label": measured.level.label, "failed": measured.failed}
            for name, measured in found.components.items()
        },
        "findings": [dataclasses.asdict(finding) for finding in found.findings],
    }


def _print(found: Probe) -> None:
    from rich.console import Console  # noqa: PLC0415 - as long as all else that a command imports
    from rich.table import Table  # noqa: PLC0415

    console = Console(file=sys.stdout, highlight=False, markup=False)
    levels = Table(title=f"{found.runtime}, kernel {found.kernel}")
    for heading in ("component", "level", "first that failed"):
        levels.add_column(heading)
    for name, measured in found.components.items():
        levels.add_row(name, f"{int(measured.level)} {measured.level.label}", measured.failed)
    console.print(levels)
    failed = [finding for finding in found.findings if not finding.held]
    if failed:
        console.print(_failures(failed))
    console.print(f"{len(found.findings)} attempts and looks, {len(failed)} walls did not stand")


def _failures(failed: Sequence[ProbeFinding]) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="walls that did not stand")
    for heading in ("finding", "severity", "at most", "component", "happened"):
        table.add_column(heading)
    for one in failed:
        caps = "-" if one.caps is None else str(one.caps)
        table.add_row(one.id, one.severity, caps, one.component, one.happened)
    return table
