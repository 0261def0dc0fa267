"""`make bench-chart`: every goal through the history of `make bench`, drawn into docs/images/bench-history.svg."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chart import Panel, Series, page
from figures import HISTORY, ROOT

PICTURE = ROOT / "docs" / "images" / "bench-history.svg"

# What is drawn: the figure's name, its name in older runs, and how the panel is headed.
DRAWN = (
    ("faces, 1280x720: sealed / transcode, seconds", "sealed / transcode, seconds", "faces, 1280x720 / transcode"),
    ("faces, 1920x1080: sealed / transcode, seconds", "", "faces, 1920x1080 / transcode"),
    ("faces, plates, people, 1280x720: sealed / transcode, seconds", "", "faces, plates, people / transcode"),
    ("frames a second against deface", "speed against deface", "times as fast as deface"),
    ("sealed / one process, seconds from the first item on", "", "sealed / one process"),
    ("all containers created and started", "all containers started", "all containers started, ms"),
    ("first clean frame", "", "first clean frame, ms"),
    ("first clean frame in low-latency mode", "", "first clean frame, low latency, ms"),
    ("added latency in low-latency mode, 1280x720 at 30 fps, p50", "", "added latency p50, ms"),
    ("added latency in low-latency mode, 1280x720 at 30 fps, p99", "", "added latency p99, ms"),
    ("photographs of 12 megapixels: sealed / decode + encode, seconds", "", "photographs / decode + encode"),
    ("peak memory of the whole pod, 1920x1080", "peak memory of all components, 1920x1080", "memory, 1920x1080, MB"),
    ("peak memory of the whole pod, 3840x2160", "", "memory, 3840x2160, MB"),
    ("lanes: 2 pods on 2 cores, throughput of one pod on one core", "", "2 lanes on 2 cores, times"),
    ("sealed, 1280x720, whole command", "sealed, whole command", "sealed, 1280x720, frames a second"),
)

Run = Mapping[str, Any]


def main() -> None:
    """Draw what has been measured at least once."""
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(drawn(runs(HISTORY)), encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")


def runs(folder: Path) -> list[Run]:
    """Runs of `make bench` by date; other benchmarks keep other documents beside them."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    own = [one for one in documents if "figures" in one and "quick" in one]
    return sorted(own, key=lambda one: str(one["machine"]["date"]))


def drawn(history: Sequence[Run]) -> str:
    """The picture of a history."""
    return page([panel for row in DRAWN if (panel := _panel(history, *row)) is not None])


def _panel(history: Sequence[Run], name: str, old_name: str, title: str) -> Panel | None:
    found = [(at, run["quick"], figure) for at, run in enumerate(history) for figure in _named(run, name, old_name)]
    if not found:
        return None
    goals = [_bound(figure["goal"]) for _, _, figure in found if figure["goal"]]
    parts = {
        word: [(at, figure) for at, was_quick, figure in found if was_quick is quick]
        for word, quick in (("whole runs", False), ("quick runs", True))
    }
    series = [
        Series(
            name=word,
            points=[(at, figure["median"]) for at, figure in part],
            spread=[(min(figure["values"]), max(figure["values"])) for _, figure in part],
        )
        for word, part in parts.items()
        if part
    ]
    return Panel(title=title, series=series, x_names=[run["machine"]["commit"] for run in history], goal=_last(goals))


def _named(run: Run, *names: str) -> Iterator[Any]:
    yield from (figure for figure in run["figures"] if figure["name"] in names and figure["values"])


def _bound(goal: str) -> float:
    return float(goal.partition(" ")[2])


def _last(goals: Sequence[float]) -> float | None:
    """Goals rise; today's counts for all."""
    return goals[-1] if goals else None


if __name__ == "__main__":
    main()
