"""`make growth`: time and memory of a sealed job against a film's length, its size, faces in it, and lanes.

Length: the demo film again and again at 320x180, searched at a side of 128 pixels: what could grow with the length (the
log, tracks, regions that verify keeps, the container's index) does not depend on pixels, and an hour fits into minutes.
Size, faces and lanes: at the default policy. Through every series a straight line is laid by least squares; the page
says how far the points are from it. With `--only` the others stay as the newest file of the history has them.

    make growth GROWTH_ARGS='--minutes 1 4 15 60'
    make growth GROWTH_ARGS='--only length --minutes 1 4 15 60'
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import contenders
import films
import numpy as np
from chart import Panel, Series, page
from contenders import WORK, say, together
from figures import HISTORY, ROOT, busy, keep, machine
from numpy.typing import NDArray
from PIL import Image

PAGE = ROOT / "docs" / "reference" / "growth.md"
PICTURE = ROOT / "docs" / "images" / "growth.svg"
SHORT_SIZE, SHORT_SIDE = (320, 180), 128
SIZES = ((640, 360), (1280, 720), (1920, 1080), (3840, 2160))
FACES = (0, 10, 25, 50, 100, 200)
CROWD_SIZE = (1280, 720)
# Series by the word of `--only`, headed by what grows in them.
NAMES = {
    "length": "length, minutes",
    "size": "size, megapixels",
    "faces": "faces in every frame",
    "lanes": "lanes",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One job, or several at once.

    Attributes:
        x: What grows.
        frames: Of all films.
        wall_s: Of the whole command.
        cpu_s: Of all components.
        memory_mb: The most that all containers of a pod held at once; of several pods the sum.
        peaks_mb: Each component's own most.
        tracks: How many the job told.
    """

    x: float
    frames: int
    wall_s: float
    cpu_s: float
    memory_mb: float
    peaks_mb: Mapping[str, float]
    tracks: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One series as a run of this program measured it.

    Attributes:
        facts: The machine then.
        kept: The run's file.
    """

    points: Sequence[Point]
    facts: Mapping[str, Any]
    kept: Path


def main() -> None:
    """Measure every series or those that are asked for, write figures, picture and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 4, 15], help="lengths of the film")
    parser.add_argument("--frames", type=int, default=60, help="of the films of the other series")
    parser.add_argument("--only", action="append", choices=list(NAMES), help="measure this one anew; repeatable")
    arguments = parser.parse_args()
    facts = machine()
    frames = arguments.frames
    steps: dict[str, list[Callable[[], Point]]] = {
        "length": [partial(length, minutes) for minutes in arguments.minutes],
        "size": [partial(size, *one, frames) for one in SIZES],
        "faces": [partial(crowd, count, frames) for count in FACES],
        "lanes": [partial(lanes, count, frames) for count in range(1, 2 * facts_cpus(facts) + 1)],
    }
    series: dict[str, list[dict[str, Any]]] = {}
    for part in arguments.only or list(NAMES):
        for step in steps[part]:
            series.setdefault(NAMES[part], []).append(asdict(step()))
            # An hour of a film takes long: what was measured stays if the next point fails.
            keep({"machine": facts, "growth": series}, "growth")
    told = newest(HISTORY)
    PICTURE.write_text(page(list(panels({name: one.points for name, one in told.items()}))), encoding="utf-8")
    PAGE.write_text("\n".join(described(told)) + "\n", encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)}")


def newest(history: Path) -> dict[str, Measured]:
    """Each series of the newest run that measured it, in the page's order."""
    runs = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in history.glob("*-growth.json")]
    found: dict[str, Measured] = {}
    for path, run in sorted(runs, key=lambda one: str(one[1]["machine"]["date"])):
        for name, points in run["growth"].items():
            grown = sorted((Point(**point) for point in points), key=lambda point: point.x)
            found[name] = Measured(grown, run["machine"], path)
    return {name: found[name] for name in NAMES.values() if name in found}


def facts_cpus(facts: Mapping[str, Any]) -> int:
    """Processors of the machine."""
    return int(facts["cpus"])


def length(minutes: float) -> Point:
    """One film of so many minutes."""
    frames = round(minutes * 60 * films.RATE)
    say(f"growth: {minutes:g} minutes, {frames} frames")
    film = films.repeated(WORK / f"long-{frames}.mp4", size=SHORT_SIZE, frames=frames)
    point = _job(minutes, film, "--film-side", str(SHORT_SIDE))
    film.unlink()
    return point


def size(width: int, height: int, frames: int) -> Point:
    """One film of so many pixels."""
    say(f"growth: {width}x{height}")
    film = films.repeated(WORK / f"size-{width}-{frames}.mp4", size=(width, height), frames=frames)
    return _job(width * height / 1e6, film)


def crowd(count: int, frames: int) -> Point:
    """One film in which so many faces stand; also if verify finds some that the first look was too small for."""
    say(f"growth: {count} faces")
    return _job(count, crowded(WORK / f"crowd-{count}-{frames}.mp4", count, frames), "--on-residual", "release")


def lanes(count: int, frames: int) -> Point:
    """So many pods at once, none of them held to a core."""
    say(f"growth: {count} lanes")
    film = films.repeated(WORK / f"size-1280-{frames}.mp4", size=(1280, 720), frames=frames)
    names = [f"growth-{number}" for number in range(count)]
    run = together(contenders.sealed(film, name=name) for name in names)
    return _point(count, run.seconds, [_report(name) for name in names])


def crowded(path: Path, count: int, frames: int) -> Path:
    """Faces of the demo film in a grid on grey, each swaying by some pixels so that it is followed."""
    if path.is_file():
        return path
    face = _face()
    width, height = CROWD_SIZE
    columns = max(1, round((max(count, 1) * width / height) ** 0.5))
    cell = width / columns
    side = int(min(cell, height / -(-max(count, 1) // columns)) * 0.75)
    small = np.asarray(Image.fromarray(face).resize((min(side, 160),) * 2))

    def picture(frame: int) -> NDArray[np.uint8]:
        drawn = np.full((height, width, 3), 112, np.uint8)
        for number in range(count):
            sway = 4 * np.sin(frame / 5 + number)
            left = int((number % columns + 0.12) * cell + sway)
            top = int((number // columns + 0.12) * height / -(-count // columns))
            part = small[: height - top, : width - max(left, 0)]
            drawn[top : top + part.shape[0], max(left, 0) : max(left, 0) + part.shape[1]] = part
        return drawn

    films.written(path, CROWD_SIZE, (picture(frame) for frame in range(frames)))
    return path


def _face() -> NDArray[np.uint8]:
    """The largest face of the demo film's first frame that its labels know, with some of what is around it."""
    labels = json.loads(films.DEMO.with_suffix(".json").read_text(encoding="utf-8"))
    first = labels["images"][0]["id"]
    boxes = [one["bbox"] for one in labels["annotations"] if one["image_id"] == first]
    left, top, width, height = max(boxes, key=lambda box: box[2] * box[3])
    with av.open(str(films.DEMO)) as film:
        frame = next(iter(film.decode(video=0))).to_ndarray(format="rgb24")
    reach = max(width, height) * 0.7
    x, y = left + width / 2, top + height / 2
    return np.ascontiguousarray(
        frame[max(0, int(y - reach)) : int(y + reach), max(0, int(x - reach)) : int(x + reach)]
    ).astype(np.uint8)


def _job(x: float, film: Path, *options: str) -> Point:
    run = together([contenders.sealed(film, *options, name="growth")])
    return _point(x, run.seconds, [_report("growth")])


def _report(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((WORK / f"{name}.json").read_text(encoding="utf-8"))
    return report


def _point(x: float, wall_s: float, reports: Sequence[dict[str, Any]]) -> Point:
    components = [one for report in reports for one in report["components"].items()]
    peaks: dict[str, float] = {}
    for name, one in components:
        peaks[name] = peaks.get(name, 0.0) + (one["memory_peak_bytes"] or 0) / 1e6
    return Point(
        x=x,
        frames=sum(output["frames"] for report in reports for output in report["outputs"]),
        wall_s=wall_s,
        cpu_s=sum(one["cpu_s"] or 0.0 for _, one in components),
        memory_mb=sum(report["metrics"]["memory_peak_bytes"] for report in reports) / 1e6,
        peaks_mb=peaks,
        tracks=sum(sum(report["counts"].values()) for report in reports),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line through points, by least squares.

    Attributes:
        start: At x = 0.
        slope: Per unit of x.
        off: The largest distance of a point from it, as a share of the largest value.
    """

    start: float
    slope: float
    off: float


def straight(points: Sequence[tuple[float, float]]) -> Line:
    """The line through at least two different x."""
    xs, ys = np.array(points, np.float64).T
    slope, start = np.polyfit(xs, ys, 1)
    off = float(np.max(np.abs(slope * xs + start - ys)) / max(float(np.max(np.abs(ys))), 1e-9))
    return Line(float(start), float(slope), off)


def panels(series: Mapping[str, Sequence[Point]]) -> Iterator[Panel]:
    """Processor time, wall time and memory of each series."""
    for name, points in series.items():
        for title, values in _values(points).items():
            yield Panel(title=title, x_label=name, series=[Series(name="", points=values)])


def _values(points: Sequence[Point]) -> dict[str, list[tuple[float, float]]]:
    return {
        "processor time, s": [(one.x, one.cpu_s) for one in points],
        "wall time, s": [(one.x, one.wall_s) for one in points],
        "memory of the pod, MB": [(one.x, one.memory_mb) for one in points],
    }


def described(told: Mapping[str, Measured]) -> Iterator[str]:
    """The page in Markdown."""
    yield "# Growth"
    yield ""
    yield "Written by `make growth`, one job for each point."
    yield ""
    yield f"Length: the demo film again and again at {SHORT_SIZE[0]}x{SHORT_SIZE[1]}, searched at {SHORT_SIDE} pixels,"
    yield "so that an hour fits into minutes; what could grow with it does not depend on pixels. The rest is measured"
    yield "at the default policy. Faces stand in a grid at 1280x720:"
    yield "the more, the smaller; `tracks` says how many were followed. Lanes are pods at once that share all cores;"
    yield "their memory is the sum. Of 200 faces verify finds some that the first look's size was too small for, and by"
    yield "default keeps the output; here it is released all the same."
    yield ""
    yield "![Processor time, wall time and memory against length, size, faces and lanes](../images/growth.svg)"
    for name, one in told.items():
        yield ""
        yield f"## Against {name}"
        yield ""
        yield _origin(one)
        yield ""
        yield from _table(name, one.points)
        yield ""
        for title, values in _values(one.points).items():
            line = straight(values)
            yield (
                f"- {title}: {line.start:.1f} + {line.slope:.3g} x; no point is further than "
                f"{100 * line.off:.0f} % of the largest value from that line"
            )


def _origin(one: Measured) -> str:
    """When and on what a series was measured."""
    facts = one.facts
    return (
        f"{str(facts['date'])[:10]}, commit `{facts['commit']}`, {facts['model']}, {facts['cpus']} cores, Linux "
        f"{facts['kernel']}; `{one.kept.relative_to(ROOT)}`. {busy(facts)}"
    ).rstrip()


def _table(name: str, points: Sequence[Point]) -> Iterator[str]:
    components = list(points[0].peaks_mb)
    yield (
        f"| {name} | frames | wall s | processor s | ms a frame | memory MB | tracks | " + " | ".join(components) + " |"
    )
    yield "|---|" + "---|" * (6 + len(components))
    for one in points:
        peaks = " | ".join(f"{one.peaks_mb[component]:.0f}" for component in components)
        per_frame = 1000 * one.cpu_s / one.frames
        yield (
            f"| {one.x:.4g} | {one.frames} | {one.wall_s:.1f} | {one.cpu_s:.1f} | {per_frame:.1f} | "
            f"{one.memory_mb:.0f} | {one.tracks} | {peaks} |"
        )


if __name__ == "__main__":
    main()
