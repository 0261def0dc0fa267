"""`make bench`: the issue's table, each row a ratio or a figure of one run, with goal, spread and verdict.

Rounds are interleaved, so that a slow moment of a shared machine meets every contender. `benchmarks/history/` keeps the
figures with date, commit and machine; `make bench-chart` draws them.

`QUICK=1` makes three rounds of shorter films, and leaves quality out: 3 minutes instead of 20.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import contenders
import films
import lanes
import outside
import photographs
import recall
from contenders import BIN, WORK, Rounds, interleaved, say
from figures import ROOT, Figure, busy, keep, machine, table

# faces, plates and people: what the second row names.
ALL_CLASSES = ("--hide", "face", "--hide", "plate", "--hide", "person")


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """How much is measured.

    Attributes:
        rounds: Of every ratio.
        frames: Of the films at 1280x720 and 1920x1080.
        frames_4k: Of the film at 3840x2160, long enough to fill its rings.
        pictures: Photographs of 12 megapixels.
        lane_frames: Of the film that every lane gets.
        quality: Whether boxes are compared with labels, and outputs with sources.
    """

    rounds: int
    frames: int
    frames_4k: int
    pictures: int
    lane_frames: int
    quality: bool


# Chosen so that the whole takes some 16 and 3 minutes on two idle cores: deface alone takes a third of it.
WHOLE = Extent(rounds=5, frames=240, frames_4k=60, pictures=16, lane_frames=90, quality=True)
QUICK = Extent(rounds=3, frames=45, frames_4k=24, pictures=4, lane_frames=30, quality=False)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, default=ROOT.parent / "shared/data/faces", help="labelled photographs")
    arguments = parser.parse_args()
    quick = os.environ.get("QUICK") == "1"
    facts = machine()
    figures = list(measured(QUICK if quick else WHOLE, arguments.faces))
    document = {"machine": facts, "quick": quick, "figures": [figure.row() for figure in figures]}
    print("\n".join(table(figures)))
    print(busy(facts))
    print(f"kept in {keep(document, 'quick' if quick else '').relative_to(ROOT)}")


def measured(extent: Extent, faces: Path) -> Iterator[Figure]:
    """All figures, in the issue's order; each film is made when it is needed."""
    film = films.at_720p(WORK, frames=extent.frames)
    first = interleaved(
        {
            "sealed": lambda: contenders.sealed(film),
            "one process": lambda: contenders.one_process(film),
            "transcode": lambda: contenders.transcode(film),
            "all classes": lambda: contenders.sealed(film, *ALL_CLASSES, name="all-classes"),
            "low latency": lambda: contenders.sealed(film, "--low-latency", name="low-latency"),
            "deface": lambda: contenders.deface(film),
        },
        extent.rounds,
        "1280x720",
    )
    larger = films.at_1080p(WORK, film)
    second = interleaved(
        {"sealed": lambda: contenders.sealed(larger), "transcode": lambda: contenders.transcode(larger)},
        extent.rounds,
        "1920x1080",
    )
    yield from against_transcode(first, second)
    yield from against_others(first)
    yield from start_up(first)
    yield from low_latency(film, extent.rounds)
    yield from photographs.figures(extent.pictures, extent.rounds)
    yield from memory(second, films.at_2160p(WORK, frames=extent.frames_4k))
    yield from lanes.figures(films.at_720p(WORK, frames=extent.lane_frames), extent.rounds)
    yield from speeds(first, second, extent.frames)
    yield from where_time_goes(first, extent.frames)
    if extent.quality:
        yield from found_faces(faces)
        yield from outside.of_film(films.at_720p(WORK, frames=extent.lane_frames))
        yield from outside.of_photograph(
            min(photographs.made(WORK / f"photographs-{extent.pictures}", extent.pictures).iterdir())
        )


def against_transcode(first: Rounds, second: Rounds) -> Iterator[Figure]:
    """Whole commands, the start of the pod included, over a plain transcode's."""
    for name, rounds in (("1280x720", first), ("1920x1080", second)):
        yield Figure(
            name=f"faces, {name}: sealed / transcode, seconds",
            unit="ratio",
            values=rounds.ratio("sealed", "transcode"),
            goal="<= 1.25",
        )
    yield Figure(
        name="faces, plates, people, 1280x720: sealed / transcode, seconds",
        unit="ratio",
        values=first.ratio("all classes", "transcode"),
        goal="<= 2.0",
    )


def against_others(rounds: Rounds) -> Iterator[Figure]:
    """Beside deface, and beside the same components without walls."""
    yield Figure(
        name="frames a second against deface", unit="ratio", values=rounds.ratio("deface", "sealed"), goal=">= 15"
    )
    pairs = zip(rounds.reports["one process"], rounds.reports["sealed"], strict=True)
    yield Figure(
        name="sealed / one process, seconds from the first item on",
        unit="ratio",
        values=tuple(alone["metrics"]["fps"] / sealed["metrics"]["fps"] for alone, sealed in pairs),
        goal="<= 1.03",
    )
    yield Figure(
        name="sealed / one process, whole command, seconds", unit="ratio", values=rounds.ratio("sealed", "one process")
    )


def start_up(rounds: Rounds) -> Iterator[Figure]:
    """From the first call of the runtime on, images in the page cache; then each component's four phases."""
    for name, key, goal in (
        ("all containers created and started", "containers_started_ms", "<= 100"),
        ("every component ready, walls measured", "ready_ms", ""),
        ("first clean frame", "first_clean_frame_ms", "<= 600"),
    ):
        yield Figure(name=name, unit="ms", values=_metric(rounds, key), goal=goal)
    yield Figure(
        name="first clean frame in low-latency mode",
        unit="ms",
        values=rounds.metric("low latency", lambda report: report["metrics"]["first_clean_frame_ms"]),
        goal="<= 600",
        note="with look-ahead the first frame waits until twelve more have been searched",
    )
    for component in rounds.reports["sealed"][0]["components"]:
        for phase in ("create", "start", "import", "ready"):
            values = rounds.metric("sealed", lambda report: report["components"][component]["startup_ms"][phase])  # noqa: B023 - called at once
            yield Figure(name=f"start-up of {component}: {phase}", unit="ms", values=values)


def low_latency(film: Path, rounds: int) -> Iterator[Figure]:
    """Added latency of a frame that arrives at a camera's pace, from the end of its decoding to its encoder."""
    paced = interleaved(
        {
            "balanced": lambda: contenders.paced(film, name="balanced"),
            "fast": lambda: contenders.paced(film, "--recall", "fast", name="fast"),
        },
        rounds,
        "a camera's pace",
    )
    for recall_target, goals in (("balanced", ("<= 25", "<= 60")), ("fast", ("", ""))):
        for quantile, goal in zip(("p50", "p99"), goals, strict=True):
            yield Figure(
                name=f"added latency, --low-latency --recall {recall_target}, 1280x720 at 30 fps, {quantile}",
                unit="ms",
                values=paced.metric(recall_target, lambda report: report["metrics"]["latency_ms"][quantile]),  # noqa: B023 - called at once
                goal=goal,
            )


def memory(rounds: Rounds, film_4k: Path) -> Iterator[Figure]:
    """The most that all containers of a pod held at once, page cache of their files and rings included."""
    yield Figure(
        name="peak memory of the whole pod, 1920x1080",
        unit="MB",
        values=rounds.metric("sealed", lambda report: report["metrics"]["memory_peak_bytes"] / 1e6),
        goal="<= 400",
    )
    once = interleaved({"sealed": lambda: contenders.sealed(film_4k)}, 1, "3840x2160")
    yield Figure(
        name="peak memory of the whole pod, 3840x2160",
        unit="MB",
        values=once.metric("sealed", lambda report: report["metrics"]["memory_peak_bytes"] / 1e6),
        goal="<= 900",
        note=f"{films.frame_count(film_4k)} frames",
    )


def speeds(first: Rounds, second: Rounds, frames: int) -> Iterator[Figure]:
    """Frames a second, which the ratios are made of."""
    for size, rounds in (("1280x720", first), ("1920x1080", second)):
        for name in rounds.runs:
            values = tuple(frames / seconds for seconds in rounds.seconds(name))
            yield Figure(name=f"{name}, {size}, whole command", unit="fps", values=values)
    yield Figure(name="sealed, 1280x720, from the first item on", unit="fps", values=_metric(first, "fps"))
    for quantile in ("p50", "p95", "p99"):
        values = first.metric("sealed", lambda report: report["metrics"]["latency_ms"][quantile])  # noqa: B023 - called at once
        yield Figure(name=f"latency {quantile}, decode to encode, with look-ahead", unit="ms", values=values)


def where_time_goes(rounds: Rounds, frames: int) -> Iterator[Figure]:
    """Processor time of a frame by component, start and end included; and how much of the film was looked at."""
    values = tuple(1000 * run.processor_s / frames for run in rounds.runs["transcode"])
    yield Figure(name="processor time a frame: transcode", unit="ms", values=values)
    reports = rounds.reports["sealed"]
    for name in reports[0]["components"]:
        used = [report["components"][name]["cpu_s"] for report in reports]
        if None not in used:
            values = tuple(1000 * one / frames for one in used)
            yield Figure(name=f"processor time a frame: {name}", unit="ms", values=values)
    for seen in ("whole", "parts", "not"):
        shares = tuple(report["outputs"][0]["seen"][seen] / frames for report in reports)
        yield Figure(name=f"frames looked at: {seen}", unit="share", values=shares)


def found_faces(folder: Path) -> Iterator[Figure]:
    """Recall on labelled photographs, beside deface's own on the same."""
    if not (folder / "labels.json").is_file():
        say(f"no labelled photographs at {folder}: recall is not measured")
        return
    say("recall on labelled photographs")
    told = subprocess.run(
        [BIN / "veilbox", "detect", folder, "--quiet"], check=True, capture_output=True, cwd=ROOT
    ).stdout
    ours = recall.of_coco_results(folder, json.loads(told))
    theirs = recall.of_deface(folder)
    yield Figure(name="recall at IoU 0.3", unit="share", values=(ours.recall,), goal=f">= {theirs.recall:.4f}")
    yield Figure(name="precision at IoU 0.3", unit="share", values=(ours.precision,))
    yield Figure(name="deface: recall at IoU 0.3", unit="share", values=(theirs.recall,))
    yield Figure(name="deface: precision at IoU 0.3", unit="share", values=(theirs.precision,))


def _metric(rounds: Rounds, key: str) -> tuple[float, ...]:
    def read(report: dict[str, Any]) -> float:
        return float(report["metrics"][key])

    return rounds.metric("sealed", read)


if __name__ == "__main__":
    main()
