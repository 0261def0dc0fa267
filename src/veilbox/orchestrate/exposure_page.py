"""A report -> one HTML page about exposure. Pure: JSON values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from veilbox.core.errors import UsageError
from veilbox.core.exposure import KINDS, SCORE_BINS, SHORT_FRAMES
from veilbox.orchestrate.page import WIDTH, document, figure, number, svg, table, text

# A person reads a few pages; the JSON has all.
_MOST_OUTPUTS = 50
_MOST_WEAK = 20
_HEIGHT, _BAR = 120, 9
_COLOURS = {"detected": "#2b6cb0", "interpolated": "#d69e2e", "ahead": "#38a169", "behind": "#805ad5"}
_WORDS = {
    "detected": "detection",
    "interpolated": "interpolation",
    "ahead": "look-ahead",
    "behind": "look-behind",
}


def exposure_page(report: Mapping[str, Any], evaluation: Sequence[Any] = ()) -> str:
    """The page of a report.

    Args:
        report: As `report_json` gives it, or read from a file.
        evaluation: What `veilbox evaluate --json` printed about labelled data.

    Raises:
        UsageError: It is no report, or one without exposure, or no evaluation.
    """
    try:
        outputs = [one for one in report["outputs"] if one["exposure"] is not None]
        told = [one["exposure"] for one in outputs]
        parts = [
            _heading(report),
            _totals(report, told),
            _labelled(evaluation),
            _weakest(outputs),
            _doubtful(outputs),
            figure("Scores of all detections of tracks", _scores(told)),
            figure("Latency of frames, decode to encode", _latency(report["metrics"]["latency_ms"])),
            *(_output(one) for one in outputs[:_MOST_OUTPUTS]),
            _rest(len(outputs)),
        ]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise UsageError(
            "not a report with exposure, or no evaluation",
            where="report",
            actual=repr(error),
            advice="Give the JSON that this version's `veilbox anonymize --report` and `veilbox evaluate --json` wrote",
        ) from error
    return document(f"veilbox: exposure of job {report['job']}", parts)


def _heading(report: Mapping[str, Any]) -> str:
    policy = report["policy"]
    keys = "".join(f'<span class="key" style="background:{_COLOURS[kind]}"></span>{_WORDS[kind]}' for kind in KINDS)
    return (
        f"<h1>Exposure of job {text(report['job'])}</h1><p>veilbox {text(report['veilbox'])}, style "
        f"{text(policy['redaction']['style'])}, margin {number(policy['redaction']['margin'])}, look-ahead "
        f"{_lookahead(policy['tracking'])}. This page says how those who were found were covered. It "
        f"cannot say whom no detector found.</p><p>Covered by{keys}</p>"
    )


def _lookahead(tracking: Mapping[str, Any]) -> str:
    return "none, for low latency" if tracking["low_latency"] else f"{number(tracking['lookahead'])} frames"


def _totals(report: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> str:
    frames = sum(int(one["frames"]) for one in report["outputs"])
    rows = [
        ("outputs", len(report["outputs"])),
        ("frames", frames),
        *((f"tracks: {name}", count) for name, count in report["counts"].items()),
        *((f"frames with {_WORDS[kind]}", sum(one["frames"][kind] for one in told)) for kind in KINDS),
        ("gaps closed", sum(one["gaps"] for one in told)),
        ("longest gap, frames", max((one["longest_gap"] for one in told), default=0)),
        (f"tracks shorter than {SHORT_FRAMES} frames", sum(one["short"] for one in told)),
        ("tracks too weak to be covered", sum(one["uncovered"] for one in told)),
    ]
    return table(("", ""), ((name, f"{int(count):,}") for name, count in rows))


def _labelled(evaluation: Sequence[Any]) -> str:
    """The share of identities exposed in at least one frame, with its interval as the evaluation computed it."""
    rows = [
        (
            str(policy["options"]),
            name,
            f"{int(one['exposure']['exposed'])} of {int(one['exposure']['identities'])}",
            f"{float(one['exposure']['low']):.1%} to {float(one['exposure']['high']):.1%}",
            f"{int(one['exposure']['frames']):,}",
        )
        for policy in evaluation
        for name, one in policy["classes"].items()
        if one["exposure"] is not None
    ]
    if not rows:
        return ""
    heads = ("policy", "class", "exposed in at least one frame", "95 % interval (Clopper-Pearson)", "such frames")
    return f"<h2>On labelled data</h2>{table(heads, rows)}"


def _weakest(outputs: Sequence[Mapping[str, Any]]) -> str:
    weak = [(track, one["path"]) for one in outputs for track in one["exposure"]["weakest"]]
    weak.sort(key=lambda pair: (pair[0]["best"], pair[1], pair[0]["track"]))
    rows = (
        (
            f"{track['label']} {track['track']}",
            number(track["best"]),
            number(track["weakest"]),
            f"{int(track['first'])} to {int(track['last'])}",
            *(str(int(track[kind])) for kind in KINDS),
            str(int(track["gaps"])),
            path,
        )
        for track, path in weak[:_MOST_WEAK]
    )
    heads = ("track", "best score", "lowest", "frames", *(_WORDS[kind] for kind in KINDS), "gaps", "file")
    return f"<h2>Weakest tracks</h2><small>Look at these first.</small>{table(heads, rows)}"


def _doubtful(outputs: Sequence[Mapping[str, Any]]) -> str:
    doubts = [(track, one["path"]) for one in outputs for track in one["exposure"]["doubtful"]]
    doubts.sort(key=lambda pair: (-pair[0]["seen"], -pair[0]["best"], pair[1], pair[0]["first"]))
    rows = (
        (
            track["label"],
            f"{int(track['first'])} to {int(track['last'])}",
            str(int(track["seen"])),
            number(track["best"]),
            path,
        )
        for track, path in doubts[:_MOST_WEAK]
    )
    words = "Nobody knows what these are: no score of them counted. A policy of high recall covers lasting ones."
    heads = ("class", "frames", "seen in", "best score", "file")
    return f"<h2>Seen weakly and not covered</h2><small>{words}</small>{table(heads, rows)}"


def _scores(told: Sequence[Mapping[str, Any]]) -> str:
    sums = [sum(int(one["scores"][place]) for one in told) for place in range(SCORE_BINS)]
    ticks = [(place / 5, f"{place / 5:.1f}") for place in range(6)]
    return _bars([(count,) for count in sums], (_COLOURS["detected"],), ticks)


def _latency(latency: Mapping[str, Any]) -> str:
    parts = [(float(end), int(count)) for end, count in latency["histogram"]]
    ticks = [((place + 1) / len(parts), f"{end:.3g} ms") for place, (end, _) in enumerate(parts) if place % 4 == 0]
    told = ", ".join(f"{name} {number(latency[name])} ms" for name in ("p50", "p95", "p99"))
    return _bars([(count,) for _, count in parts], (_COLOURS["behind"],), ticks) + f"<small>{told}</small>"


def _output(one: Mapping[str, Any]) -> str:
    told = one["exposure"]
    head = f"<h2>{text(one['path'])}</h2><small>{int(one['frames']):,} frames, from {text(one['source'])}</small>"
    if not told["bins"]:
        return head
    frames = int(told["bin_frames"]) * len(told["bins"])
    ticks = [(place / 4, f"{round(frames * place / 4):,}") for place in range(5)]
    bins = [tuple(int(count) for count in one_bin) for one_bin in told["bins"]]
    timeline = _bars(bins, tuple(_COLOURS[kind] for kind in KINDS), ticks)
    words = f"Tracks covered over time, in parts of {int(told['bin_frames'])} frames"
    return head + figure(words, timeline) + figure("Tracks, the longest covered", _tracks(told["drawn"], frames))


def _tracks(tracks: Sequence[Mapping[str, Any]], frames: int) -> str:
    """A bar for each track over the film's time, in its kinds' shares."""
    lines = []
    for row, track in enumerate(tracks):
        left, whole = int(track["first"]) / frames * WIDTH, (int(track["last"]) - int(track["first"]) + 1) / frames
        counts = [int(track[kind]) for kind in KINDS]
        name = text(f"{track['label']} {track['track']}, best score {track['best']}, {track['gaps']} gaps")
        lines.append(f"<g><title>{name}</title>")
        for kind, count in zip(KINDS, counts, strict=True):
            width = whole * WIDTH * count / max(sum(counts), 1)
            lines.append(_rectangle(left, row * (_BAR + 2), width, _BAR, _COLOURS[kind]))
            left += width
        lines.append("</g>")
    return svg(len(tracks) * (_BAR + 2), "".join(lines))


def _bars(parts: Sequence[Sequence[int]], colours: Sequence[str], ticks: Iterable[tuple[float, str]]) -> str:
    """Stacked bars from left to right, the highest filling the plot, with ticks below."""
    most = max((sum(part) for part in parts), default=0) or 1
    step = WIDTH / max(len(parts), 1)
    drawn = []
    for place, part in enumerate(parts):
        base = float(_HEIGHT)
        for count, colour in zip(part, colours, strict=True):
            height = count / most * _HEIGHT
            base -= height
            drawn.append(_rectangle(place * step, base, max(step - 0.5, 0.5), height, colour))
    words = "".join(
        f'<text x="{min(max(x * WIDTH, 12), WIDTH - 16):.1f}" y="{_HEIGHT + 14}" font-size="11" '
        f'text-anchor="middle">{escape(tick)}</text>'
        for x, tick in ticks
    )
    top = f'<text x="0" y="10" font-size="11">{most:,}</text>'
    return svg(_HEIGHT + 18, "".join(drawn) + words + top)


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    if not (width > 0 and height > 0):
        return ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _rest(count: int) -> str:
    return "" if count <= _MOST_OUTPUTS else f"<p>{count - _MOST_OUTPUTS} more outputs are in the report's JSON.</p>"
