"""What a benchmark says: figures with goal, spread and verdict, the machine they are of, and the history."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av

from veilbox.oci.runtime.dialect import DIALECTS
from veilbox.oci.runtime.driver import discover

ROOT = Path(__file__).parents[1]
HISTORY = ROOT / "benchmarks" / "history"
# Processes that want a processor while nothing of ours runs: from here on wall times say more about them than about us.
BUSY_LOAD = 0.5


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        name: What was measured; the history is joined by it.
        values: One for each round; none where nothing was measured.
        goal: What the project wants; `>=` or `<=` and a number. Empty for figures that only explain.
        note: How it was measured, where the name does not say.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    goal: str = ""
    note: str = ""

    @property
    def median(self) -> float | None:
        """The middle value."""
        return statistics.median(self.values) if self.values else None

    @property
    def verdict(self) -> str:
        """Whether the median meets the goal."""
        if not self.goal:
            return ""
        if self.median is None:
            return "not measured"
        relation, _, bound = self.goal.partition(" ")
        met = self.median >= float(bound) if relation == ">=" else self.median <= float(bound)
        return "met" if met else "NOT met"

    def row(self) -> dict[str, object]:
        """The figure as the history keeps it."""
        return {**asdict(self), "median": self.median, "verdict": self.verdict}


def table(figures: Sequence[Figure]) -> Iterator[str]:
    """Lines for a terminal: first what has a goal, then what explains it."""
    wide = max((len(figure.name) for figure in figures), default=0) + 2
    yield f"{'':{wide}}{'goal':>12}{'median':>10}{'least':>10}{'most':>10}  {'unit':7}verdict"
    for figure in sorted(figures, key=lambda figure: not figure.goal):
        yield f"{figure.name:{wide}}{figure.goal:>12}{_numbers(figure)}  {figure.unit:7}{figure.verdict}".rstrip()
    for figure in figures:
        if figure.note:
            yield f"{figure.name}: {figure.note}"


def _numbers(figure: Figure) -> str:
    if figure.median is None:
        return f"{'-':>10}" * 3
    return "".join(f"{value:10.2f}" for value in (figure.median, min(figure.values), max(figure.values)))


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpus": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "model": _processor_name(),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "python": platform.python_version(),
        "pyav": av.__version__,
        "runtimes": {fact.name: fact.version for fact in discover([*DIALECTS]) if fact.usable},
        "load_average": os.getloadavg()[0],
    }


def busy(facts: Mapping[str, Any]) -> str:
    """A warning if others worked on the machine when the run began; empty if none did."""
    if facts["load_average"] <= BUSY_LOAD:
        return ""
    return f"Load {facts['load_average']:.1f} before the first round: others worked too, only ratios can be compared."


def keep(document: Mapping[str, Any], kind: str = "") -> Path:
    """Write a run into the history, by date and commit; `kind` tells other runs than whole ones apart."""
    HISTORY.mkdir(exist_ok=True)
    facts = document["machine"]
    path = HISTORY / f"{facts['date'][:10]}-{facts['commit']}{'-' + kind if kind else ''}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def _commit() -> str:
    told = subprocess.run(
        ["/usr/bin/env", "git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, cwd=ROOT
    )
    return told.stdout.decode().strip()


def _processor_name() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
