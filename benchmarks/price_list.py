"""What each runtime costs: starts, speed, latency and processor time, beside the same components in one bare process.

One run for all of them, in interleaved rounds: what else the machine does hits every runtime alike. Medians with the
least and the largest go between the marks of docs/reference/runtimes.md.

    make price-list PRICE_ARGS='--rounds 5'
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import films

from veilbox.oci.runtime.dialect import DIALECTS
from veilbox.oci.runtime.driver import discover

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "runtimes.md"
WORK = ROOT / "build" / "bench"
BEGIN, END = "<!-- price list: benchmarks/price_list.py writes this -->", "<!-- end of the price list -->"
VEILBOX = Path(sys.executable).with_name("veilbox")
BARE = "bare process"

# Heading of the column, and its number in a report.
COLUMNS: Mapping[str, Callable[[Any], float | None]] = {
    "create and start a container, ms": lambda report: _per_component(report, "create", "start"),
    "all ready, ms": lambda report: report["metrics"]["ready_ms"] or None,
    "frames a second": lambda report: report["metrics"]["fps"],
    "latency of a frame, p50 ms": lambda report: report["metrics"]["latency_ms"]["p50"],
    "p99 ms": lambda report: report["metrics"]["latency_ms"]["p99"],
    "processor time, s": lambda report: report["cpu_s"],
    "memory of all, MB": lambda report: (report["metrics"]["memory_peak_bytes"] or 0) / 1e6 or None,
}


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=90, help="of the demo film, 1280x720")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    film, models = films.at_720p(WORK, frames=arguments.frames), films.models()
    usable = [fact for fact in discover([*DIALECTS]) if fact.usable]
    who = {BARE: "", **{fact.name: fact.version for fact in usable}}
    load = [f"{os.getloadavg()[0]:.1f}"]
    reports: dict[str, list[Any]] = {name: [] for name in who}
    for number in range(arguments.rounds):
        for name in who:
            print(f"round {number + 1} of {arguments.rounds}: {name}", file=sys.stderr)
            reports[name].append(measured(name, film, models))
    load.append(f"{os.getloadavg()[0]:.1f}")
    levels = {name: _level(taken[-1]) for name, taken in reports.items()}
    conditions = (
        f"{datetime.now(UTC):%Y-%m}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, "
        f"{arguments.rounds} interleaved rounds of a film of {_frames(reports[BARE][0])}: median (least to largest). "
        f"Load of the machine before and after: {', '.join(load)}; far above 0 before means that others worked too: "
        "then only processor time and the relation of one line to another count."
    )
    lines = [
        BEGIN,
        conditions,
        "",
        *table(who, levels, reports),
        END,
    ]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + "\n".join(lines) + rest.partition(END)[2], encoding="utf-8")


def table(who: Mapping[str, str], levels: Mapping[str, str], reports: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """The table in Markdown."""
    yield "| | level | " + " | ".join(COLUMNS) + " |"
    yield "|---|---|" + "---|" * len(COLUMNS)
    for name, version in who.items():
        cells = [cell([number(report) for report in reports[name]]) for number in COLUMNS.values()]
        yield f"| {name} {version}".rstrip() + f" | {levels[name]} | " + " | ".join(cells) + " |"


def cell(values: Sequence[float | None]) -> str:
    """The median, and from where to where; a dash where nobody tells."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    form = ".1f" if median(known) < 100 else ".0f"
    return f"{median(known):{form}} ({min(known):{form}} to {max(known):{form}})"


def measured(name: str, film: Path, models: Path) -> Any:
    """One job's report, with `cpu_s` of all that it took beside."""
    with tempfile.TemporaryDirectory() as folder:
        output, told = Path(folder, "out.mp4"), Path(folder, "report.json")
        if name == BARE:
            command: list[str | Path] = [
                sys.executable,
                Path(__file__).with_name("one_process.py"),
                film,
                output,
                models,
                told,
            ]
        else:
            command = [VEILBOX, "anonymize", film, "-o", output, "--runtime", name, "--report", told, "--quiet"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as program:
            _, status, used = os.wait4(program.pid, 0)
            program.returncode = os.waitstatus_to_exitcode(status)
        if program.returncode != 0:
            raise SystemExit(f"{name}: exit status {program.returncode}")
        report = json.loads(told.read_text(encoding="utf-8"))
    own = [one["cpu_s"] or 0 for one in report["components"].values()]
    return report | {"cpu_s": sum(own) if any(own) else used.ru_utime + used.ru_stime}


def _per_component(report: Any, *phases: str) -> float | None:
    times = [sum(one["startup_ms"][phase] for phase in phases) for one in report["components"].values()]
    return median(times) if any(one["startup_ms"]["create"] for one in report["components"].values()) else None


def _level(report: Any) -> str:
    levels = {one["isolation"]["level"] for one in report["components"].values()}
    return str(min(levels))


def _frames(report: Any) -> str:
    output = report["outputs"][0]
    return f"{output['frames']} frames, {output['width']}x{output['height']}"


if __name__ == "__main__":
    main()
