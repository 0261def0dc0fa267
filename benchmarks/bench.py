"""`make bench`: speed, start-up, memory and recall, each as a ratio in one run on the same film.

Rounds are interleaved, so that a slow moment of a shared machine meets every contender. Printed are medians with the
smallest and largest value; `benchmarks/history/` keeps the figures with date, commit and machine.

`QUICK=1` makes three rounds of a shorter film instead of five.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import films
import recall

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
WORK = ROOT / "build" / "bench"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        goal: What the project wants; `>=` or `<=` and a number.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    goal: str = ""

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        """Whether the median meets the goal."""
        if not self.goal:
            return ""
        relation, _, bound = self.goal.partition(" ")
        met = self.median >= float(bound) if relation == ">=" else self.median <= float(bound)
        return "met" if met else "NOT met"


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, default=ROOT.parent / "shared/data/faces", help="labelled photographs")
    arguments = parser.parse_args()
    quick = os.environ.get("QUICK") == "1"
    rounds = 3 if quick else 5
    film = films.at_720p(WORK, frames=90 if quick else 300)
    figures = [*speed(film, rounds), *memory(films.at_1080p(WORK, film)), *found_faces(arguments.faces)]
    document = {"machine": machine(), "quick": quick, "figures": [_row(figure) for figure in figures]}
    _print(figures)
    _keep(document)


def speed(film: Path, rounds: int) -> list[Figure]:
    """Seconds of whole commands, and what follows from them."""
    frames = films.frame_count(film)
    contenders: dict[str, Callable[[], float]] = {
        "sealed": lambda: _timed(_sealed(film)),
        "one process": lambda: _timed(_one_process(film)),
        "transcode": lambda: _timed(_transcode(film)),
        "deface": lambda: _timed(_deface(film)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    processor: dict[str, list[float]] = {name: [] for name in contenders}
    reports = []
    for number in range(rounds):
        for name, run in contenders.items():
            _say(f"round {number + 1} of {rounds}: {name}")
            before = _children_s()
            seconds[name].append(run())
            processor[name].append(_children_s() - before)
        reports.append(_report("sealed"))
        reports[-1]["one_process_fps"] = _report("one-process")["metrics"]["fps"]
    return [
        *(
            Figure(name=f"{name}, whole command", unit="fps", values=_each(frames, seconds[name]))
            for name in contenders
        ),
        Figure(name="sealed, frames only", unit="fps", values=_metric(reports, "fps")),
        Figure(
            name="price of isolation: sealed / one process, frames only",
            unit="ratio",
            values=tuple(r["metrics"]["fps"] / r["one_process_fps"] for r in reports),
            goal=">= 0.97",
        ),
        Figure(
            name="sealed / transcode, seconds",
            unit="ratio",
            values=_ratios(seconds["sealed"], seconds["transcode"]),
            goal="<= 1.25",
        ),
        *_where_time_goes(reports, processor["transcode"], frames),
        Figure(
            name="speed against deface",
            unit="ratio",
            values=_ratios(seconds["deface"], seconds["sealed"]),
            goal=">= 15",
        ),
        Figure(
            name="all containers started", unit="ms", values=_metric(reports, "containers_started_ms"), goal="<= 100"
        ),
        Figure(name="components ready, walls measured", unit="ms", values=_metric(reports, "ready_ms")),
        Figure(name="first clean frame", unit="ms", values=_metric(reports, "first_clean_frame_ms"), goal="<= 600"),
        *(
            Figure(
                name=f"latency {quantile}, decode to encode",
                unit="ms",
                values=tuple(r["metrics"]["latency_ms"][quantile] for r in reports),
            )
            for quantile in ("p50", "p95", "p99")
        ),
    ]


def _where_time_goes(reports: Sequence[dict[str, Any]], transcode: Sequence[float], frames: int) -> Iterator[Figure]:
    """Processor time by component, start and end included, beside the transcode's; and how much was looked at."""
    yield Figure(name="processor time: transcode", unit="ms", values=tuple(1000 * one / frames for one in transcode))
    for name in reports[0]["components"]:
        used = [report["components"][name]["cpu_s"] for report in reports]
        if None not in used:
            values = tuple(1000 * one / frames for one in used)
            yield Figure(name=f"processor time: {name}", unit="ms", values=values)
    for seen in ("whole", "parts", "not"):
        shares = tuple(report["outputs"][0]["seen"][seen] / frames for report in reports)
        yield Figure(name=f"frames looked at: {seen}", unit="share", values=shares)


def memory(film: Path) -> list[Figure]:
    """Peak memory of all components together at 1920x1080."""
    _say("memory at 1920x1080")
    _timed(_sealed(film))
    peak = _report("sealed")["metrics"]["memory_peak_bytes"] / 1e6
    return [Figure(name="peak memory of all components, 1920x1080", unit="MB", values=(peak,), goal="<= 400")]


def found_faces(folder: Path) -> list[Figure]:
    """Recall on labelled photographs, beside deface's own on the same."""
    if not (folder / "labels.json").is_file():
        _say(f"no labelled photographs at {folder}: recall is not measured")
        return []
    _say("recall on labelled photographs")
    boxes = subprocess.run(
        [BIN / "veilbox", "detect", folder, "--quiet"], check=True, capture_output=True, cwd=ROOT
    ).stdout
    ours = recall.of_coco_results(folder, json.loads(boxes))
    theirs = recall.of_deface(folder)
    return [
        Figure(name="recall at IoU 0.3", unit="share", values=(ours.recall,), goal=f">= {theirs.recall:.4f}"),
        Figure(name="precision at IoU 0.3", unit="share", values=(ours.precision,)),
        Figure(name="deface: recall at IoU 0.3", unit="share", values=(theirs.recall,)),
        Figure(name="deface: precision at IoU 0.3", unit="share", values=(theirs.precision,)),
    ]


def _sealed(film: Path) -> list[str | Path]:
    output, report = WORK / "sealed.mp4", WORK / "sealed.json"
    return [BIN / "veilbox", "anonymize", film, "-o", output, "--overwrite", "--quiet", "--report", report]


def _one_process(film: Path) -> list[str | Path]:
    program = Path(__file__).with_name("one_process.py")
    return [sys.executable, program, film, WORK / "one-process.mp4", films.models(), WORK / "one-process.json"]


def _transcode(film: Path) -> list[str | Path]:
    return [sys.executable, Path(__file__).with_name("transcode.py"), film, WORK / "transcode.mp4"]


def _deface(film: Path) -> list[str | Path]:
    return [BIN / "deface", film, "-o", WORK / "deface.mp4"]


def _timed(command: Sequence[str | Path]) -> float:
    """Seconds of a command; its words are shown only if it fails."""
    began = time.monotonic()
    finished = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, stdin=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    if finished.returncode:
        sys.stderr.write(finished.stderr.decode("utf-8", "replace")[-2000:])
        raise SystemExit(f"{Path(command[0]).name} failed with status {finished.returncode}")
    return seconds


def _children_s() -> float:
    """Processor seconds of every child that has ended; those of containers are not among them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _report(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((WORK / f"{name}.json").read_text())
    return document


def _metric(reports: Sequence[dict[str, Any]], name: str) -> tuple[float, ...]:
    return tuple(float(report["metrics"][name]) for report in reports)


def _each(frames: int, seconds: Sequence[float]) -> tuple[float, ...]:
    return tuple(frames / each for each in seconds)


def _ratios(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """Round by round, so that both saw the same machine."""
    return tuple(a / b for a, b in zip(above, below, strict=True))


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    commit = subprocess.run(
        ["/usr/bin/env", "git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, cwd=ROOT
    )
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.decode().strip(),
        "cpus": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def _row(figure: Figure) -> dict[str, object]:
    return {**asdict(figure), "median": figure.median, "verdict": figure.verdict}


def _print(figures: Sequence[Figure]) -> None:
    print(f"{'':58}{'median':>9}{'least':>9}{'most':>9}  unit   goal")
    for figure in figures:
        values = f"{figure.median:9.2f}{min(figure.values):9.2f}{max(figure.values):9.2f}"
        print(f"{figure.name:58}{values}  {figure.unit:6} {figure.goal:10} {figure.verdict}")


def _keep(document: dict[str, Any]) -> None:
    folder = ROOT / "benchmarks" / "history"
    folder.mkdir(exist_ok=True)
    facts = document["machine"]
    path = folder / f"{facts['date'][:10]}-{facts['commit']}{'-quick' if document['quick'] else ''}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"kept in {path.relative_to(ROOT)}")


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")


if __name__ == "__main__":
    main()
