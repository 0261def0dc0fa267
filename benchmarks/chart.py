"""Plain SVG, written by hand: the same figures give the same bytes, and a diff can be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

# Paul Tol's bright scheme, which people who do not tell red from green can tell apart.
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
_WIDTH, _HEIGHT = 330, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 28, 40, 36
_TICKS = 4
_FONT = "font-family='sans-serif'"
# Where a point of the data stands in the picture.
Placing = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """Points of one line.

    Attributes:
        name: Of the legend; empty for none.
        points: x and y.
        spread: Least and most of each point; empty if nobody told.
        line: Whether the points are joined.
    """

    name: str
    points: Sequence[tuple[float, float]]
    spread: Sequence[tuple[float, float]] = ()
    line: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One small chart; both axes begin at 0.

    Attributes:
        title: What is drawn, with its unit.
        x_label: What goes to the right.
        x_names: Words in place of numbers at x = 0, 1, 2 ...
        goal: Where a dashed line stands.
    """

    title: str
    series: Sequence[Series]
    x_label: str = ""
    x_names: Sequence[str] = ()
    goal: float | None = None


def page(panels: Sequence[Panel], columns: int = 3) -> str:
    """All panels in one picture."""
    rows = -(-len(panels) // columns)
    parts = [
        f"<g transform='translate({index % columns * _WIDTH} {index // columns * _HEIGHT})'>{''.join(_panel(one))}</g>"
        for index, one in enumerate(panels)
    ]
    return svg(_WIDTH * min(columns, len(panels)), _HEIGHT * rows, parts)


def svg(width: float, height: float, parts: Iterable[str]) -> str:
    """A picture on white, so that it can be read on a dark page."""
    inner = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:g} {height:g}' width='{width:g}' "
        f"height='{height:g}'>\n<rect width='100%' height='100%' fill='white'/>\n{inner}\n</svg>\n"
    )


def text(x: float, y: float, words: str, *, size: int = 10, anchor: str = "start") -> str:
    """Words at a place."""
    return f"<text x='{x:.1f}' y='{y:.1f}' {_FONT} font-size='{size}' text-anchor='{anchor}'>{escape(words)}</text>"


def _panel(panel: Panel) -> Iterator[str]:
    xs = [x for one in panel.series for x, _ in one.points]
    ys = [y for one in panel.series for _, y in one.points]
    ys += [most for one in panel.series for _, most in one.spread]
    ys += [] if panel.goal is None else [panel.goal]
    right, top = _nice(max(xs, default=1)), _nice(max(ys, default=1))
    if panel.x_names:
        right = max(len(panel.x_names) - 1, 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + x / right * (_WIDTH - _LEFT - _RIGHT)
        return across, _HEIGHT - _BOTTOM - y / top * (_HEIGHT - _TOP - _BOTTOM)

    yield text(_LEFT, 16, panel.title, size=11)
    yield from _axes(panel, right, top, place)
    for index, one in enumerate(panel.series):
        yield from _line(one, COLOURS[index % len(COLOURS)], place)
        if one.name:
            yield text(_LEFT + 90 * index, 30, f"\u25cf {one.name}").replace(
                "<text", f"<text fill='{COLOURS[index % len(COLOURS)]}'"
            )


def _axes(panel: Panel, right: float, top: float, place: Placing) -> Iterator[str]:
    for tick in range(_TICKS + 1):
        x0, y = place(0, top * tick / _TICKS)
        x1, _ = place(right, 0)
        yield f"<path d='M{x0:.1f} {y:.1f}H{x1:.1f}' stroke='#ddd'/>"
        yield text(x0 - 4, y + 3, f"{top * tick / _TICKS:g}", anchor="end", size=9)
    if panel.goal is not None:
        (x0, y), (x1, _) = place(0, panel.goal), place(right, 0)
        yield f"<path d='M{x0:.1f} {y:.1f}H{x1:.1f}' stroke='black' stroke-dasharray='4 3'/>"
        yield text(x1, y - 3, "goal", anchor="end", size=9)
    names = panel.x_names or [f"{right * tick / _TICKS:g}" for tick in range(_TICKS + 1)]
    step = 1 if panel.x_names else right / _TICKS
    for tick, name in enumerate(names):
        x, y = place(tick * step, 0)
        yield text(x, y + 12, name, anchor="middle", size=9)
    yield text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, panel.x_label, anchor="middle", size=10)


def _line(series: Series, colour: str, place: Placing) -> Iterator[str]:
    places = [place(x, y) for x, y in series.points]
    if series.line and len(places) > 1:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        yield f"<path d='M{path}' fill='none' stroke='{colour}' stroke-width='1.5'/>"
    for (x, _), (least, most) in zip(series.points, series.spread, strict=False):
        (at, low), (_, high) = place(x, least), place(x, most)
        yield f"<path d='M{at:.1f} {low:.1f}V{high:.1f}' stroke='{colour}'/>"
    for x, y in places:
        yield f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>"


def _nice(most: float) -> float:
    """The next of 1, 2, 4, 6, 8, 10 times a power of ten, so that ticks are round."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if most <= step * power * (1 + 1e-9))
