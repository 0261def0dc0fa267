"""Job and labels -> what a policy's detectors, tracks and redaction are worth on them.

Boxes come from the detecting pod. Everything after is arithmetic on numbers: tracks and the hidden pixels are made with
the code that anonymize runs, on an empty picture.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilbox.core.detections import Detections
from veilbox.core.errors import UsageError
from veilbox.core.frame import FrameLayout
from veilbox.core.job import Job
from veilbox.core.policy import Policy, Style
from veilbox.core.regions import Regions
from veilbox.evaluation.average_precision import average_precision
from veilbox.evaluation.coverage import COVERED, share_hidden, share_needless
from veilbox.evaluation.exposure import Exposure, exposure
from veilbox.evaluation.labels import Label, Labels
from veilbox.evaluation.matching import IOU, Band, Curve, Scored, bands, curve
from veilbox.oci.image.store import ImageStore
from veilbox.orchestrate.detect import Box, Found, Searched, detect
from veilbox.orchestrate.progress import Progress
from veilbox.vision.redact import Redactor
from veilbox.vision.redact.zones import Zones
from veilbox.vision.track import Tracker

# Boxes from here on make the curve: weaker ones are noise by the hundred.
FLOOR = 0.05
# Precisions at which recall is told: those of the goals.
_PRECISIONS = (0.7, 0.8, 0.9)
# Points of a curve that is printed.
_POINTS = tuple(round(0.05 * step, 2) for step in range(1, 20))
# Thresholds at which exposure is told: each needs every film followed anew.
_EXPOSURE_POINTS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One threshold of a curve."""

    score: float
    recall: float | None
    precision: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExposureAt:
    """Exposure, had boxes counted from another score on."""

    score: float
    exposure: Exposure


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassResult:
    """What one class came to.

    Attributes:
        labels: How many there are, ignored ones left out.
        threshold: From which score on boxes count.
        recall: At that threshold, at the overlap that was asked for.
        precision: Likewise.
        recall_at_precision: The best recall of any threshold, by the precision that it keeps.
        average_precision: By the labels' area and by overlap, as pycocotools counts it.
        covered: Share of the labelled boxes of which at least 80 % of the pixels are hidden.
        coverage: Mean share of a labelled box's pixels that is hidden.
        exposure: Of identities, where labels have any.
        curve: Recall and precision by threshold.
        sizes: What is found of labels of each size.
        exposures: Exposure by threshold, with tracks made anew for each; none where labels have no identities.
    """

    labels: int
    threshold: float
    recall: float | None
    precision: float | None
    recall_at_precision: Mapping[str, float | None]
    average_precision: Mapping[str, Mapping[str, float | None]]
    covered: float | None
    coverage: float | None
    exposure: Exposure | None
    curve: tuple[Point, ...]
    sizes: tuple[Band, ...]
    exposures: tuple[ExposureAt, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What one policy came to on one set.

    Attributes:
        pictures: Images and frames that have labels, of which some may name nothing.
        unlabelled: Images and frames that the labels do not speak of; they count for nothing.
        seconds: From the first source opened to the last box, containers' start left out.
        false_cover: Mean share of a picture that is hidden without need.
        classes: By name.
        policy: What was evaluated.
    """

    pictures: int
    unlabelled: int
    seconds: float
    false_cover: float
    classes: Mapping[str, ClassResult]
    policy: Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scores:
    """By class: from which score on boxes count, and from which on they keep tracks alive, as in a job."""

    counts: Mapping[str, float]
    keeps: Mapping[str, float]

    @classmethod
    def of(cls, found: Found, policy: Policy, *, counts: float | None = None) -> _Scores:
        """Of what was found, or as if boxes counted from another score on."""
        thresholds = found.thresholds if counts is None else dict.fromkeys(found.thresholds, counts)
        floors = {name: found.floors.get(name, FLOOR) for name in thresholds}
        if policy.detection.floor is not None:
            floors = dict.fromkeys(thresholds, policy.detection.floor)
        return cls(counts=thresholds, keeps={name: min(floors[name], thresholds[name]) for name in thresholds})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Picture:
    """One labelled picture."""

    name: str
    labels: tuple[Label, ...]
    found: tuple[Scored, ...]
    shares: tuple[tuple[Label, float], ...]
    needless: float
    whole: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ground:
    """An empty picture of a source's size on which regions and zones are hidden as anonymize hides them.

    Attributes:
        layout: Of one plane of bytes.
        redactor: Blacks out.
        zones: The source's.
        always: Pixels that zones hide in every frame.
    """

    layout: FrameLayout
    redactor: Redactor
    zones: Zones
    always: NDArray[np.bool_]

    @classmethod
    def of(cls, searched: Searched, policy: Policy) -> _Ground:
        """The ground for one source."""
        layout = FrameLayout(pixel_format="gray", width=searched.width, height=searched.height)
        zones = Zones([policy.zones[zone] for zone in policy.zones_of(searched.name)], layout, 0)
        redactor = Redactor(dataclasses.replace(policy.redaction, style=Style.SOLID))
        picture = _blank(layout)
        zones.hide([picture], full_range=True)
        return cls(layout=layout, redactor=redactor, zones=zones, always=picture[..., 0] == 0)

    def hidden(self, regions: Regions) -> NDArray[np.bool_]:
        """Which pixels anonymize would black out."""
        picture = _blank(self.layout)
        self.redactor.redact([picture], self.layout, regions, full_range=True)
        hidden: NDArray[np.bool_] = (picture[..., 0] == 0) | self.always
        return hidden

    def asked(self, told: Sequence[Label]) -> tuple[Label, ...]:
        """Labels, those ignored that lie in a zone that keeps: what is there is to stay visible."""
        boxes = np.array([label.box for label in told], np.float32).reshape(-1, 4)
        return tuple(
            dataclasses.replace(label, ignored=True) if kept else label
            for label, kept in zip(told, self.zones.keeps(boxes), strict=True)
        )


def _blank(layout: FrameLayout) -> NDArray[np.uint8]:
    return np.full((layout.height, layout.width, 1), 255, np.uint8)


def evaluate(
    job: Job,
    labels: Labels,
    *,
    store: ImageStore,
    progress: Progress,
    overlap: float = IOU,
    by_threshold: bool = True,
) -> Evaluation:
    """Search every item of a job in sealed containers and hold what is found against labels.

    Args:
        job: Items and the policy.
        labels: Of the items.
        store: Component images.
        progress: Told of every step.
        overlap: From which overlap on a found box is a label's.
        by_threshold: Whether exposure is told for other thresholds too: films are followed anew for each.

    Raises:
        UsageError: No label is of a class that the policy hides, or no picture is labelled.
        VeilboxError: The job ended.
    """
    classes = [name for name in job.policy.detection.classes if name in labels.categories]
    if not classes:
        raise UsageError(
            "the labels have no class that is hidden",
            where="--labels",
            expected=", ".join(job.policy.detection.classes),
            actual=", ".join(labels.categories),
            advice="Choose with --hide, or rename the label's categories",
        )
    detection = dataclasses.replace(job.policy.detection, floor=FLOOR)
    asked = dataclasses.replace(job, policy=dataclasses.replace(job.policy, detection=detection))
    found = detect(asked, store=store, progress=progress)
    return judged(found, labels, job.policy, overlap=overlap, by_threshold=by_threshold)


def judged(
    found: Found, labels: Labels, policy: Policy, *, overlap: float = IOU, by_threshold: bool = True
) -> Evaluation:
    """Hold what was found against labels.

    Args:
        found: With boxes down to `FLOOR`, without those that a zone keeps.
        labels: Of the same sources.
        policy: What was asked for.
        overlap: From which overlap on a found box is a label's.
        by_threshold: Whether exposure is told for other thresholds too.
    """
    boxes: dict[int, dict[int, list[Box]]] = defaultdict(lambda: defaultdict(list))
    for box in found.boxes:
        boxes[box.item][box.frame].append(box)
    pictures: list[_Picture] = []
    for one in found.searched:
        pictures += _pictures(one, boxes[one.item], labels, policy, _Scores.of(found, policy))
    if not pictures:
        raise UsageError(
            "no picture is labelled",
            where="--labels",
            expected="file_name as the sources are called, frame_id from 0 for films",
            actual=", ".join(one.name for one in found.searched[:3]),
        )
    classes = [name for name in policy.detection.classes if name in labels.categories]
    follow = by_threshold and _any_identity(pictures)
    exposures = _exposures(found, boxes, labels, policy, classes) if follow else {}
    return Evaluation(
        pictures=len(pictures),
        unlabelled=sum(_length(one, policy) for one in found.searched) - len(pictures),
        seconds=found.seconds,
        false_cover=float(np.mean([picture.needless for picture in pictures])),
        classes={
            name: _result(pictures, name, found.thresholds[name], tuple(exposures.get(name, ())), overlap)
            for name in classes
        },
        policy=policy,
    )


def _any_identity(pictures: Sequence[_Picture]) -> bool:
    return any(label.identity is not None for picture in pictures for label, _ in picture.shares)


def _exposures(
    found: Found,
    boxes: Mapping[int, Mapping[int, Sequence[Box]]],
    labels: Labels,
    policy: Policy,
    classes: Sequence[str],
) -> Mapping[str, list[ExposureAt]]:
    """By class; all classes count from the same score on."""
    told: dict[str, list[ExposureAt]] = {name: [] for name in classes}
    for score in _EXPOSURE_POINTS:
        scores = _Scores.of(found, policy, counts=score)
        seen = [
            (label.category, (one.name, label.identity), share)
            for one in found.searched
            for label, share in _shares(one, boxes[one.item], labels, policy, scores)
            if label.identity is not None
        ]
        for name in classes:
            own = exposure((whose, share) for category, whose, share in seen if category == name)
            told[name].append(ExposureAt(score=score, exposure=own))
    return told


def _shares(
    searched: Searched,
    boxes: Mapping[int, Sequence[Box]],
    labels: Labels,
    policy: Policy,
    scores: _Scores,
) -> Iterator[tuple[Label, float]]:
    """The labels of a source and how much of each is hidden."""
    ground = _Ground.of(searched, policy)
    for frame, regions in _tracked(searched, boxes, policy, scores):
        wanted = _wanted(ground.asked(labels.at(searched.name, frame) or ()), policy)
        if wanted:
            yield from _hidden_shares(ground.hidden(regions), wanted)


def _wanted(told: Sequence[Label], policy: Policy) -> list[Label]:
    return [label for label in told if label.category in policy.detection.classes]


def _hidden_shares(hidden: NDArray[np.bool_], wanted: Sequence[Label]) -> Iterator[tuple[Label, float]]:
    for label in wanted:
        share = None if label.ignored else share_hidden(hidden, label.box)
        if share is not None:
            yield label, share


def _pictures(
    searched: Searched,
    boxes: Mapping[int, Sequence[Box]],
    labels: Labels,
    policy: Policy,
    scores: _Scores,
) -> Iterator[_Picture]:
    ground = _Ground.of(searched, policy)
    for frame, regions in _tracked(searched, boxes, policy, scores):
        labelled = labels.at(searched.name, frame)
        if labelled is None:
            continue
        told, hidden = ground.asked(labelled), ground.hidden(regions)
        wanted = _wanted(told, policy)
        yield _Picture(
            name=searched.name,
            labels=told,
            found=tuple(
                Scored(category=box.category, box=_corners(box), score=box.score) for box in boxes.get(frame, ())
            ),
            shares=tuple(_hidden_shares(hidden, wanted)),
            # What the policy always hides was asked for.
            needless=share_needless(
                hidden & ~ground.always, [label.box for label in wanted], margin=policy.redaction.margin
            ),
            whole=frame % policy.detection.sent_every == 0 and frame not in searched.parts | searched.unseen,
        )


def _tracked(
    searched: Searched, boxes: Mapping[int, Sequence[Box]], policy: Policy, scores: _Scores
) -> Iterator[tuple[int, Regions]]:
    """What anonymize covers in each frame; the film's own look-ahead is taken to fit the ring."""
    classes = list(scores.counts)
    counted = {classes.index(name): threshold for name, threshold in scores.counts.items()}
    tracker = Tracker(
        policy.tracking,
        width=searched.width,
        height=searched.height,
        thresholds=counted,
        believe=policy.detection.believed,
    )
    for frame in range(_length(searched, policy)):
        seen = frame % policy.detection.sent_every == 0 and frame not in searched.unseen
        kept = [box for box in boxes.get(frame, ()) if box.score >= scores.keeps[box.category]]
        tracker.push(frame, _detections(kept, classes) if seen else None, whole=frame not in searched.parts)
        yield from tracker.ready()
    yield from tracker.flush()


def _length(searched: Searched, policy: Policy) -> int:
    """Frames up to the last one that was searched."""
    return (searched.frames - 1) * policy.detection.sent_every + 1 if searched.frames else 0


def _detections(boxes: Sequence[Box], classes: Sequence[str]) -> Detections:
    if not boxes:
        return Detections.empty()
    return Detections(
        np.array([_corners(box) for box in boxes], np.float32),
        np.array([box.score for box in boxes], np.float32),
        np.array([classes.index(box.category) for box in boxes], np.int32),
    )


def _corners(box: Box) -> tuple[float, float, float, float]:
    x, y, width, height = box.xywh
    return x, y, x + width, y + height


def _result(
    pictures: Sequence[_Picture],
    category: str,
    threshold: float,
    exposures: tuple[ExposureAt, ...],
    overlap: float,
) -> ClassResult:
    # A frame that was not looked at whole says nothing about what the detector finds.
    judged_pictures = [(picture.labels, picture.found) for picture in pictures if picture.whole]
    drawn: Curve = curve(judged_pictures, category, iou=overlap)
    recall, precision = drawn.at(threshold)
    seen = [(p.name, label, share) for p in pictures for label, share in p.shares if label.category == category]
    shares = [share for _, _, share in seen]
    identities = [((name, label.identity), share) for name, label, share in seen if label.identity is not None]
    return ClassResult(
        labels=drawn.wanted,
        threshold=threshold,
        recall=recall,
        precision=precision,
        recall_at_precision={str(wanted): drawn.recall_at(wanted) for wanted in _PRECISIONS},
        average_precision=average_precision(judged_pictures, category),
        covered=float(np.mean([share >= COVERED for share in shares])) if shares else None,
        coverage=float(np.mean(shares)) if shares else None,
        exposure=exposure(identities) if identities else None,
        curve=tuple(Point(score=score, recall=at[0], precision=at[1]) for score, at in _points(drawn)),
        sizes=bands(judged_pictures, category, threshold=threshold, iou=overlap),
        exposures=exposures,
    )


def _points(drawn: Curve) -> Iterator[tuple[float, tuple[float | None, float | None]]]:
    return ((score, drawn.at(score)) for score in _POINTS)
