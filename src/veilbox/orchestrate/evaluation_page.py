"""Evaluations -> one HTML page of plots, policies side by side. Pure: JSON values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from veilbox.core.errors import UsageError
from veilbox.orchestrate.page import WIDTH, document, figure, svg, table, text

# As many policies as can be told apart by colour; more take the first colours again.
_COLOURS = ("#2b6cb0", "#dd6b20", "#38a169", "#805ad5", "#c53030", "#718096")
# Height of a plot, and around it the room for its figures.
_HEIGHT, _LEFT, _BELOW, _ABOVE = 260, 40, 34, 8
_SHARES = tuple((step / 5, f"{step / 5:.1f}") for step in range(6))

Place = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Series:
    """One line of a plot: points in shares of the plot's sides, and by point what a reader is told on hovering."""

    colour: str
    points: Sequence[Place]
    words: Sequence[str]
    ranges: Sequence[tuple[float, float]] = ()


def evaluation_page(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """The page of what `veilbox evaluate --json` prints.

    Args:
        evaluations: One for each policy, of the same labels.

    Raises:
        UsageError: It is no evaluation.
    """
    try:
        classes = list(dict.fromkeys(name for one in evaluations for name in one["classes"]))
        parts = [_heading(evaluations), *(part for name in classes for part in _class(name, evaluations))]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise UsageError(
            "not an evaluation",
            where="evaluation",
            actual=repr(error),
            advice="Give what this version's `veilbox evaluate --json` printed",
        ) from error
    return document("veilbox: evaluation", parts)


def _heading(evaluations: Sequence[Mapping[str, Any]]) -> str:
    keys = "".join(
        f'<span class="key" style="background:{_colour(place)}"></span>{text(one["options"])}'
        for place, one in enumerate(evaluations)
    )
    rows = [
        (
            str(one["options"]),
            f"{int(one['pictures']):,}",
            f"{1000 * float(one['seconds']) / max(int(one['pictures']) + int(one['unlabelled']), 1):.0f}",
            _percent(one["false_cover"]),
        )
        for one in evaluations
    ]
    heads = ("policy", "labelled pictures", "ms a picture", "hidden without need")
    return f"<h1>Evaluation</h1><p>{keys}</p>{table(heads, rows)}"


def _class(name: str, evaluations: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    told = [(place, one, one["classes"][name]) for place, one in enumerate(evaluations) if name in one["classes"]]
    yield f"<h2>{text(name)}</h2>{_figures([(one, found) for _, one, found in told])}"
    yield figure(
        "Recall (across) and precision (up); the large point is the policy's own threshold",
        _plot(
            [_trade(place, found) for place, _, found in told],
            _SHARES,
            [_own(place, found) for place, _, found in told],
        ),
    )
    yield figure("Recall by size: square root of the labelled area, pixels", _sizes(told))
    if any(found["exposures"] for _, _, found in told):
        yield figure(
            "Identities exposed in at least one frame, had boxes counted from this score on, with the 95 % interval",
            _plot([_exposed(place, found) for place, _, found in told], _SHARES),
        )


def _figures(told: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    heads = ("policy", "labels", "from score", "recall", "precision", "hidden to 80 %", "identities exposed")
    return table(heads, [_figure_row(one, found) for one, found in told])


def _figure_row(one: Mapping[str, Any], found: Mapping[str, Any]) -> Sequence[str]:
    seen = found["exposure"]
    exposed = "" if seen is None else f"{int(seen['exposed'])} of {int(seen['identities'])}"
    shares = (_percent(found[key]) for key in ("recall", "precision", "covered"))
    return (str(one["options"]), f"{int(found['labels']):,}", f"{float(found['threshold']):.2f}", *shares, exposed)


def _trade(place: int, found: Mapping[str, Any]) -> _Series:
    points = [one for one in found["curve"] if one["recall"] is not None and one["precision"] is not None]
    return _Series(
        colour=_colour(place),
        points=[(float(one["recall"]), float(one["precision"])) for one in points],
        words=[
            f"from {float(one['score']):.2f}: recall {_percent(one['recall'])}, precision {_percent(one['precision'])}"
            for one in points
        ],
    )


def _own(place: int, found: Mapping[str, Any]) -> str:
    if found["recall"] is None or found["precision"] is None:
        return ""
    return _dot((float(found["recall"]), float(found["precision"])), _colour(place), 6, "the policy's threshold")


def _sizes(told: Sequence[tuple[int, Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """Bands stand at equal distances: sizes are told in octaves."""
    bands = sorted({int(band["least"]) for _, _, found in told for band in found["sizes"]})
    at = {least: (place + 0.5) / len(bands) for place, least in enumerate(bands)}
    return _plot(
        [_by_size(place, found["sizes"], at) for place, _, found in told],
        [(at[least], f"from {least}") for least in bands],
    )


def _by_size(place: int, sizes: Sequence[Mapping[str, Any]], at: Mapping[int, float]) -> _Series:
    return _Series(
        colour=_colour(place),
        points=[(at[int(band["least"])], int(band["found"]) / int(band["labels"])) for band in sizes],
        words=[f"from {int(band['least'])} pixels: {int(band['found'])} of {int(band['labels'])}" for band in sizes],
    )


def _exposed(place: int, found: Mapping[str, Any]) -> _Series:
    points = [(float(one["score"]), one["exposure"]) for one in found["exposures"] if one["exposure"]["identities"]]
    return _Series(
        colour=_colour(place),
        points=[(score, int(seen["exposed"]) / int(seen["identities"])) for score, seen in points],
        words=[
            f"from {score:.2f}: {int(seen['exposed'])} of {int(seen['identities'])}, {int(seen['frames'])} frames"
            for score, seen in points
        ],
        ranges=[(float(seen["low"]), float(seen["high"])) for _, seen in points],
    )


def _plot(series: Sequence[_Series], ticks: Iterable[tuple[float, str]], above: Iterable[str] = ()) -> str:
    lines = [_line((0, share), (1, share), "#e2e8f0") for share, _ in _SHARES]
    words = [_word(_LEFT - 6, _y(share) + 4, name, "end") for share, name in _SHARES]
    words += [_word(_x(share), _ABOVE + _HEIGHT + 16, str(name), "middle") for share, name in ticks]
    drawn = [part for one in series for part in _drawn(one)]
    return svg(_ABOVE + _HEIGHT + _BELOW, "".join([*lines, *words, *drawn, *above]))


def _drawn(one: _Series) -> Iterable[str]:
    for (x, _), (low, high) in zip(one.points, one.ranges, strict=False):
        yield _line((x, low), (x, high), one.colour)
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in one.points)
    yield f'<polyline points="{path}" fill="none" stroke="{one.colour}" stroke-width="2"/>'
    for point, words in zip(one.points, one.words, strict=True):
        yield _dot(point, one.colour, 3, words)


def _dot(point: Place, colour: str, radius: int, words: str) -> str:
    return (
        f'<circle cx="{_x(point[0]):.1f}" cy="{_y(point[1]):.1f}" r="{radius}" fill="{colour}">'
        f"<title>{escape(words)}</title></circle>"
    )


def _line(start: Place, end: Place, colour: str) -> str:
    return (
        f'<line x1="{_x(start[0]):.1f}" y1="{_y(start[1]):.1f}" x2="{_x(end[0]):.1f}" y2="{_y(end[1]):.1f}" '
        f'stroke="{colour}"/>'
    )


def _word(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" text-anchor="{anchor}">{escape(words)}</text>'


def _x(share: float) -> float:
    return _LEFT + share * (WIDTH - _LEFT - 30)


def _y(share: float) -> float:
    return _ABOVE + (1 - share) * _HEIGHT


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]


def _percent(share: Any) -> str:
    return "" if share is None else f"{float(share):.1%}"
