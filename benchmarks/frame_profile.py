"""`make frame-profile`: where each millisecond of a frame goes, by component, as a table and a flame chart in the docs.

The components run as threads of this process, held to one processor: decoder, model and encoder then make no threads of
their own, and the processor time of a component's thread is all that it used. Every step named below is timed inside;
what is left is messages, Python and the loops. Waiting is wall time, and so it depends on who is slower.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import films
import one_process
from chart import COLOURS, svg, text
from contenders import WORK
from figures import ROOT, machine

from veilbox.components import anonymize, audit, entry, gather, look, session
from veilbox.media import film_encoder, film_source
from veilbox.vision.detect import detector, onnx
from veilbox.vision.redact import redactor
from veilbox.vision.track import tracker

PAGE = ROOT / "docs" / "reference" / "frame-profile.md"
PICTURE = ROOT / "docs" / "images" / "frame-profile.svg"
KINDS = ("decode", "scale", "detect", "track", "redact", "copy", "encode", "look", "other")

# Every timed step: whose attribute, the step's name in the chart, and the table's column that its own time counts for.
STEPS: tuple[tuple[Any, str, str, str], ...] = (
    (film_source.FilmSource, "read", "decode", "decode"),
    (film_source.FilmPicture, "analysis", "scale to the analysis picture", "scale"),
    (film_source.FilmPicture, "copy_into", "copy a frame into its slot", "copy"),
    (detector.Detector, "detect", "detect", "detect"),
    (detector, "shrunk", "scale for the model", "scale"),
    (onnx.Session, "run", "model", "detect"),
    (onnx, "batch_of", "picture to tensor", "detect"),
    (detector, "suppress", "suppress overlaps", "detect"),
    (gather.BoxGatherer, "receive", "receive boxes", "other"),
    (anonymize.Item, "begins_scene", "look for a cut", "track"),
    (tracker.Tracker, "push", "associate", "track"),
    (tracker.Tracker, "ready", "regions of a frame", "track"),
    (anonymize.Item, "redacted", "private copy", "copy"),
    (redactor.Redactor, "redact", "redact", "redact"),
    (anonymize._Anonymize, "_emit", "copy to the clean ring, tell", "copy"),  # noqa: SLF001
    (film_encoder.FilmEncoder, "_frame", "copy to the encoder's frame", "copy"),
    (film_encoder.FilmEncoder, "_encode", "encode", "encode"),
    (film_encoder.FilmEncoder, "_mux", "mux", "encode"),
    (film_encoder.FilmEncoder, "close", "flush", "encode"),
    (look.Look, "_structure", "structure of the file", "look"),
    (look, "uncovered", "are the regions hidden", "look"),
    (audit._Keeper, "append", "append and sign", "other"),  # noqa: SLF001
)
_COLUMN = {step: column for _, _, step, column in STEPS}


class Times:
    """Processor seconds by component and path of steps, and wall seconds of waiting by component."""

    def __init__(self) -> None:
        self.spent: defaultdict[tuple[str, ...], float] = defaultdict(float)
        self.waited: defaultdict[str, float] = defaultdict(float)
        self._here = threading.local()

    def step(self, run: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function with its time taken; of a generator each step of its own."""

        def timed(*arguments: Any, **words: Any) -> Any:
            made = self._timed(name, lambda: run(*arguments, **words))
            return self._stepwise(name, made) if isinstance(made, Iterator) else made

        return timed

    def component(self, serve: Callable[..., int]) -> Callable[..., int]:
        """`entry.serve` with the whole thread's time taken."""

        def timed(name: str, *arguments: Any, **words: Any) -> int:
            self._here.path = (name,)
            before = time.thread_time()
            try:
                return serve(name, *arguments, **words)
            finally:
                self.spent[(name,)] += time.thread_time() - before

        return timed

    def waiting(self, wait: Callable[..., None]) -> Callable[..., None]:
        """`Session.wait` with its wall time taken."""

        def timed(*arguments: Any, **words: Any) -> None:
            before = time.monotonic()
            try:
                wait(*arguments, **words)
            finally:
                self.waited[self._here.path[0]] += time.monotonic() - before

        return timed

    def _stepwise(self, name: str, made: Iterator[Any]) -> Iterator[Any]:
        nothing = object()
        while (part := self._timed(name, lambda: next(made, nothing))) is not nothing:
            yield part

    def _timed(self, name: str, run: Callable[[], Any]) -> Any:
        above = getattr(self._here, "path", ("supervisor",))
        self._here.path = (*above, name)
        before = time.thread_time()
        try:
            return run()
        finally:
            self.spent[self._here.path] += time.thread_time() - before
            self._here.path = above


def main() -> None:
    """Run one job, write the page and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=240, help="of the demo film, 1280x720")
    frames = parser.parse_args().frames
    film, models = films.at_720p(WORK, frames=frames), films.models()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    times = Times()
    for owner, attribute, step, _ in STEPS:
        setattr(owner, attribute, times.step(getattr(owner, attribute), step))
    session.Session.wait = times.waiting(session.Session.wait)  # type: ignore[method-assign]
    entry.serve = times.component(entry.serve)
    before = time.process_time()
    one_process.main(film, WORK / "profile.mp4", models, WORK / "profile.json")
    whole = time.process_time() - before
    spent = {path: 1000 * seconds / frames for path, seconds in times.spent.items()}
    waited = {name: 1000 * seconds / frames for name, seconds in times.waited.items()}
    PICTURE.write_text(flame(spent), encoding="utf-8")
    PAGE.write_text("\n".join(page(spent, waited, 1000 * whole / frames, frames)) + "\n", encoding="utf-8")
    (WORK / "frame-profile.json").write_text(json.dumps({"/".join(path): ms for path, ms in spent.items()}, indent=1))
    print(f"wrote {PAGE.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)}")


def own(spent: Mapping[tuple[str, ...], float], path: tuple[str, ...]) -> float:
    """A step's time without that of the steps inside it."""
    return spent[path] - sum(spent[one] for one in children(spent, path))


def children(spent: Iterable[tuple[str, ...]], path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The steps directly inside a step."""
    return [one for one in spent if one[:-1] == path]


def columns(spent: Mapping[tuple[str, ...], float], component: str) -> dict[str, float]:
    """A component's processor time by the table's columns."""
    told: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    for path in spent:
        if path[0] == component:
            told[_COLUMN[path[-1]] if len(path) > 1 else "other"] += own(spent, path)
    return told


def page(
    spent: Mapping[tuple[str, ...], float], waited: Mapping[str, float], whole: float, frames: int
) -> Iterator[str]:
    """The page in Markdown."""
    facts = machine()
    components = [path[0] for path in spent if len(path) == 1]
    known = sum(spent[name,] for name in components)
    yield "# Where a frame's time goes"
    yield ""
    yield f"Written by `make frame-profile` on {str(facts['date'])[:10]} at commit `{facts['commit']}`:"
    yield f"{facts['model']}, Linux {facts['kernel']}, {frames} frames of the demo film at 1280x720, default policy."
    yield "Milliseconds of processor time a frame, start and end of the components included. All are threads held to"
    yield "one processor, so that libraries make no threads of their own. `wait` is wall time a frame and overlaps with"
    yield "others' work. *look* is verify's comparison of regions; *other* is messages and the loops."
    yield ""
    yield "| | " + " | ".join(KINDS) + " | all | wait |"
    yield "|---|" + "---|" * (len(KINDS) + 2)
    total = dict.fromkeys(KINDS, 0.0)
    for name in components:
        told = columns(spent, name)
        total = {kind: total[kind] + told[kind] for kind in KINDS}
        cells = " | ".join(f"{told[kind]:.2f}" if told[kind] >= 0.005 else "" for kind in KINDS)
        yield f"| {name} | {cells} | {spent[name,]:.2f} | {waited.get(name, 0.0):.1f} |"
    yield "| **all** | " + " | ".join(f"{total[kind]:.2f}" for kind in KINDS) + f" | {known:.2f} | |"
    yield ""
    yield f"The process used {whole:.2f} ms a frame; the {whole - known:.2f} ms that no component accounts for are the"
    yield "supervisor's, the imports' and those of library threads."
    yield ""
    yield "![Flame chart: each component's steps, as wide as their processor time](../images/frame-profile.svg)"
    yield ""
    yield "A step's width is its processor time; steps below it run inside it, and what is bare is its own."


def flame(spent: Mapping[tuple[str, ...], float]) -> str:
    """Steps below what they run inside of, as wide as their time."""
    width, height = 1000.0, 22.0
    total = sum(ms for path, ms in spent.items() if len(path) == 1)
    depth = max(map(len, spent))
    parts: list[str] = []

    components = sorted(path for path in spent if len(path) == 1)
    colours = {path[0]: COLOURS[index % len(COLOURS)] for index, path in enumerate(components)}

    def draw(paths: Iterable[tuple[str, ...]], left: float, level: int) -> None:
        for path in sorted(paths):
            wide = spent[path] / total * width
            colour = colours[path[0]]
            label = f"{path[-1]} {spent[path]:.2f} ms"
            parts.append(
                f"<g><title>{' / '.join(path)}: {spent[path]:.3f} ms</title>"
                f"<rect x='{left:.2f}' y='{level * height:.0f}' width='{wide:.2f}' height='{height - 1:.0f}' "
                f"fill='{colour}' fill-opacity='{1 - 0.2 * level:.1f}'/>"
                + (text(left + 3, level * height + 14, label) if wide > 6.2 * len(label) else "")
                + "</g>"
            )
            draw(children(spent, path), left, level + 1)
            left += wide

    draw(components, 0.0, 0)
    return svg(width, height * depth, parts)


if __name__ == "__main__":
    main()
