"""Job -> boxes: run the detecting pod, whose only product is numbers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from veilbox.components.introduction import decode_introduction
from veilbox.core.control import ItemDone, ItemFailed, ItemStarted, OpenItem
from veilbox.core.detections import Detections
from veilbox.core.errors import ComponentDied, ProtocolError, VeilboxError
from veilbox.core.frame import FrameLayout
from veilbox.core.job import Item, Job
from veilbox.core.plan import Plan
from veilbox.core.seen import Seen
from veilbox.core.stream import AnalysisView, Kind, StreamInfo
from veilbox.oci.image.store import ImageStore
from veilbox.orchestrate.launcher import Launcher
from veilbox.orchestrate.machine import engine, runtimes
from veilbox.orchestrate.models import chosen_models
from veilbox.orchestrate.plan import detect_plan, detectors_of
from veilbox.orchestrate.pod import Pod
from veilbox.orchestrate.progress import Progress
from veilbox.orchestrate.report import SourceFailure
from veilbox.orchestrate.source import open_source_file
from veilbox.seal.canary import planted
from veilbox.transport.messages import Boxes, End, Packet, Start
from veilbox.transport.relay import Receiver
from veilbox.vision.redact.zones import Zones


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """One detection in a source.

    Attributes:
        frame: From 0; 0 for images.
        xywh: Left, top, width, height in pixels of the picture as a viewer sees it (turned upright), COCO's order.
    """

    item: int
    name: str
    frame: int
    category: str
    xywh: tuple[float, float, float, float]
    score: float
    film: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Searched:
    """One source that was searched to its end.

    Attributes:
        width: Columns of the picture as a viewer sees it.
        height: Its rows.
        frames: How many were searched, or answered for.
        parts: Of these, the frames of which only parts were searched.
        unseen: Of these, the frames that were not searched: what is around them answers.
    """

    item: int
    name: str
    film: bool
    width: int
    height: int
    frames: int
    parts: frozenset[int] = frozenset()
    unseen: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a detecting job found.

    Attributes:
        searched: The sources that did not fail, in order.
        seconds: From the first source opened to the last box.
        thresholds: By class, from which score on a box counts; boxes below are here only if the policy has a floor.
        floors: By class, the lowest score that keeps a track alive, by the model's card.
    """

    boxes: tuple[Box, ...]
    failures: tuple[SourceFailure, ...]
    searched: tuple[Searched, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def detect_every(job: Job, *, store: ImageStore, progress: Progress) -> Found:
    """Likewise, but look at every frame of a film where the policy leaves it to the detectors.

    Raises:
        VeilboxError: The job ended.
    """
    detection = job.policy.detection
    every = replace(detection, stride=1 if detection.stride is None else detection.stride)
    return detect(replace(job, policy=replace(job.policy, detection=every)), store=store, progress=progress)


def detect(job: Job, *, store: ImageStore, progress: Progress) -> Found:
    """Detect in every item of a job in sealed containers; nothing is written.

    Raises:
        VeilboxError: The job ended.
    """
    progress.phase("admitting images")
    with engine(
        store, ("ingest",), detect=partial(chosen_models, store, job.policy), runtimes=runtimes(job.policy)
    ) as machine:
        plan = detect_plan(job.policy, machine.programs, cpus=machine.cpus, detect=machine.detectors)
        return run_plan(job, plan, machine.launcher, progress=progress)


def run_plan(job: Job, plan: Plan, launcher: Launcher, *, progress: Progress) -> Found:
    """Run a detecting plan with any launcher."""
    progress.phase("starting containers")
    with planted() as canaries, Pod(plan, launcher, job.policy, canaries) as pod:
        pod.await_ready()
        run = DetectRun(job, pod, progress, detectors_of(plan))
        began = time.monotonic()
        run.run()
        seconds = time.monotonic() - began
        pod.finish()
        return Found(
            boxes=tuple(run.boxes),
            failures=tuple(run.failures),
            searched=tuple(run.searched),
            thresholds=run.thresholds,
            floors=run.floors,
            seconds=seconds,
        )


@dataclass(slots=True)
class _Open:
    """The item that is being detected in."""

    number: int
    item: Item
    started: ItemStarted | None = None
    ended: set[str] = field(default_factory=set)
    found: list[tuple[str, Boxes]] = field(default_factory=list)


class DetectRun:
    """Feeds items to a detecting pod, one at a time, and gathers boxes."""

    def __init__(self, job: Job, pod: Pod, progress: Progress, names: tuple[str, ...]) -> None:
        self._job = job
        self._pod = pod
        self._progress = progress
        self._receivers = {name: Receiver(pod.boxes[name], Boxes) for name in names}
        self._extra = {channel.fileno(): name for name, channel in pod.boxes.items()}
        # As each detector said before it saw a picture; what it says on its edge later could quote one.
        self._classes = {name: ready.classes for name in names if (ready := pod.members[name].ready) is not None}
        self._stride = pod.common_stride(names)
        self.boxes: list[Box] = []
        self.failures: list[SourceFailure] = []
        self.searched: list[Searched] = []
        self.thresholds: dict[str, float] = {}
        self.floors: dict[str, float] = {}

    def run(self) -> None:
        """Work until every item is done or failed.

        Raises:
            VeilboxError: A component failed, or the only source of a job that is no folder did.
        """
        for number, item in enumerate(self._job.items):
            opened = _Open(number, item)
            try:
                self._one(opened)
            except VeilboxError as error:
                if not self._job.folder or error.fault != "input":
                    raise
                self.failures.append(SourceFailure.of(item.name, error))
            self._progress.done(number)

    def _one(self, opened: _Open) -> None:
        with open_source_file(opened.item.source, opened.item.name) as source:
            opening = OpenItem(item=opened.number, analysis_stride=self._stride)
            self._pod.send("ingest", opening, [source.fd])
        while opened.started is None or len(opened.ended) < len(self._receivers):
            for name, message in self._pod.poll(self._extra):
                self._handle(opened, name, message)
            for name, receiver in self._receivers.items():
                self._receive(opened, name, receiver)
            self._progress.advance(opened.number, len(opened.found) // len(self._receivers))
        self.boxes.extend(self._converted(opened))
        self.searched.append(_searched(opened, len(self._receivers)))

    def _handle(self, opened: _Open, sender: str, message: object) -> None:
        match message:
            case ItemStarted(item=opened.number) if sender == "ingest" and opened.started is None:
                opened.started = message
                self._progress.item(opened.number, len(self._job.items), opened.item.name, message.frames)
            case ItemFailed(item=opened.number) if sender == "ingest":
                raise message.failure.error(opened.item.name)
            case ItemDone():
                pass  # the boxes edge ends in its own order
            case _:
                raise ProtocolError("unexpected message", where=sender, actual=type(message).__name__)

    def _receive(self, opened: _Open, name: str, receiver: Receiver) -> None:
        while (message := self._next(name, receiver)) is not None:
            match message:
                case Start():
                    # Ingest says which item is meant, and the classes are known.
                    told = decode_introduction(message.info)
                    self.thresholds.update(dict.fromkeys(self._classes[name], told.threshold))
                    self.floors.update(dict.fromkeys(self._classes[name], told.floor))
                case Boxes():
                    opened.found.append((name, message))
                case End():
                    if message.item == opened.number:
                        opened.ended.add(name)
                case _:
                    raise ProtocolError("a boxes edge carries boxes only", where=name)

    def _next(self, name: str, receiver: Receiver) -> Start | Boxes | Packet | End | None:
        try:
            return receiver.receive()
        except ComponentDied:
            self._pod.died(name)  # the kernel may close a dead detector's edge before its control socket

    def _converted(self, opened: _Open) -> Iterator[Box]:
        started = opened.started
        if started is None:
            raise ProtocolError("boxes of an item that never started", where=opened.item.name)
        view = self._view(started)
        zones = self._zones(opened.item.name, view)
        # Detectors answer at their own pace; what is told must not depend on it.
        names = list(self._receivers)
        for name, message in sorted(opened.found, key=lambda one: (one[1].sequence, names.index(one[0]))):
            found = Detections.unpack(message.payload)
            frame = message.sequence - started.first_sequence
            if frame < 0:
                continue  # of an item before, which failed half-way
            if found.classes.size and not 0 <= int(found.classes.max()) < len(self._classes[name]):
                raise ProtocolError("a detector found a class that it does not have", where=name)
            if not {self._classes[name][kind] for kind in found.classes} <= {*self._job.policy.detection.classes}:
                raise ProtocolError("a detector found a class that was not asked for", where=name)
            boxes = _upright(found, view)
            for box, score, kind, kept in zip(boxes, found.scores, found.classes, zones.keeps(boxes), strict=True):
                if kept:
                    continue
                x1, y1, x2, y2 = (float(value) for value in box)
                yield Box(
                    item=opened.number,
                    name=opened.item.name,
                    frame=frame,
                    category=self._classes[name][int(kind)],
                    xywh=(x1, y1, x2 - x1, y2 - y1),
                    score=float(score),
                    film=started.kind is Kind.FILM,
                )

    def _zones(self, name: str, view: AnalysisView) -> Zones:
        """A source's zones in its upright picture."""
        policy = self._job.policy
        width, height = _upright_size(view)
        layout = FrameLayout(pixel_format="gray", width=width, height=height)
        return Zones([policy.zones[zone] for zone in policy.zones_of(name)], layout, 0)

    def _view(self, started: ItemStarted) -> AnalysisView:
        detection = self._job.policy.detection
        kind = started.kind
        info = StreamInfo(
            kind=kind,
            width=started.width,
            height=started.height,
            pixel_format="gray",
            rotation=started.rotation,
        )
        return AnalysisView.fit(info, long_side=detection.long_side(kind, info.width, info.height), stride=self._stride)


def _searched(opened: _Open, detectors: int) -> Searched:
    started = opened.started
    if started is None:
        raise ProtocolError("boxes of an item that never started", where=opened.item.name)
    turned = started.rotation in (90, 270)
    frames: dict[int, set[Seen]] = defaultdict(set)
    for _, message in opened.found:
        if message.sequence >= started.first_sequence:
            frames[message.sequence - started.first_sequence].add(message.seen)
    if len(opened.found) < detectors * len(frames):
        raise ProtocolError("a detector left out a frame", where=opened.item.name)
    return Searched(
        item=opened.number,
        name=opened.item.name,
        film=started.kind is Kind.FILM,
        width=started.height if turned else started.width,
        height=started.width if turned else started.height,
        frames=len(frames),
        parts=frozenset(number for number, seen in frames.items() if seen not in ({Seen.WHOLE}, {Seen.NOT})),
        unseen=frozenset(number for number, seen in frames.items() if seen == {Seen.NOT}),
    )


def _upright(found: Detections, view: AnalysisView) -> NDArray[np.float32]:
    """Boxes scaled to the upright picture's size and clipped to it."""
    width, height = _upright_size(view)
    scale = np.array([width / view.width, height / view.height] * 2, np.float32)
    limit = np.array([width, height] * 2, np.float32)
    clipped: NDArray[np.float32] = np.clip(found.boxes * scale, 0, limit)
    return clipped


def _upright_size(view: AnalysisView) -> tuple[int, int]:
    turned = view.rotation in (90, 270)
    return (view.frame_height, view.frame_width) if turned else (view.frame_width, view.frame_height)
