"""Look at one finished output: its structure, every frame and its regions, and what the second detectors find.

verify loads this when the first frame of a job has been redacted: decoders and arrays are no use before, and whoever
starts the pod's first frame needs the processors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from veilbox.components.residuals import Gathered
from veilbox.components.second_look import SecondLook
from veilbox.components.session import Session
from veilbox.components.told_regions import ToldRegions
from veilbox.core.control import OpenOutput, Verified
from veilbox.core.detections import Detections
from veilbox.core.errors import InputError
from veilbox.core.findings import MOST_FINDINGS, Finding, FindingKind
from veilbox.core.metadata import MetadataField
from veilbox.core.policy import Keep, Policy
from veilbox.core.regions import Regions
from veilbox.core.stream import AnalysisView, Kind, StreamInfo
from veilbox.core.timing import Timeline
from veilbox.media.source import AudioPacket, Picture, Source, open_source
from veilbox.media.structure import Allowed, examine
from veilbox.vision.redact import UNCOVERED, Zones, planes_of, uncovered

# A film's second look is at five quarters of the first one's size, where small faces show that the first one missed;
# a picture's, which was searched at its own size, at two thirds, where large faces show.
_FILM_SCALE, _IMAGE_SCALE = (5, 4), (2, 3)
_FULL_RANGE = 2


class Look:
    """One output.

    Args:
        session: The supervisor's side of the conversation.
        policy: The job's.
        second: Who searches frames again.
        message: What the supervisor says of the output.
        regions: What was to be hidden.
        receive: Takes in one message about regions of later items, if one has arrived.
    """

    def __init__(
        self,
        session: Session,
        policy: Policy,
        second: SecondLook,
        message: OpenOutput,
        regions: ToldRegions,
        *,
        receive: Callable[[], bool],
    ) -> None:
        self._session = session
        self._receive = receive
        self._policy = policy
        self._second = second
        self._message = message
        self._regions = regions
        self._samples = bytearray()
        self._zones: Zones | None = None
        self._findings: list[Finding] = []
        self._gathered = Gathered(stride=policy.verification.stride, most=UNCOVERED[policy.redaction.style])
        self._frames = 0
        self._looked_at = 0
        self._searched = 0
        self._side = 0
        self._told: tuple[MetadataField, ...] = ()

    def run(self, file: BinaryIO) -> Verified:
        """Structure first, then every frame."""
        self._structure(file)
        try:
            with self._open(file) as source:
                self._decode(source)
        except InputError as error:
            self._found(FindingKind.CONTENT, error.what)
        findings = [*self._findings, *self._gathered.findings(self._second.label)]
        return Verified(
            item=self._message.item,
            frames=self._frames,
            regions=self._looked_at,
            searched=self._searched,
            side=self._side,
            findings=tuple(findings[:MOST_FINDINGS]),
            omitted=max(0, len(findings) - MOST_FINDINGS),
            metadata=self._told,
        )

    def _found(self, kind: FindingKind, what: str, where: str = "", count: int = 1) -> None:
        self._findings.append(Finding(kind=kind, what=what, where=where, count=count))

    def _structure(self, file: BinaryIO) -> None:
        policy = self._policy
        fields = frozenset(policy.metadata_fields)
        allowed = Allowed(audio=Keep.AUDIO in policy.keep, metadata=fields, c2pa=policy.c2pa)
        for flaw in examine(file, self._message.suffix, allowed):
            self._found(FindingKind.STRUCTURE, flaw.what, flaw.path, flaw.count)

    def _open(self, file: BinaryIO) -> Source:
        fields = self._policy.metadata_fields
        return open_source(file, keep_audio=Keep.AUDIO in self._policy.keep, metadata=fields)

    def _decode(self, source: Source) -> None:
        info, told = source.info, self._message
        if told.zones:
            self._zones = Zones((self._policy.zones[one] for one in told.zones), info.layout, info.rotation)
        self._told = info.metadata.fields(self._policy.metadata_fields)
        for what, actual, expected in (
            ("kind", info.kind, told.kind),
            ("size", (info.width, info.height), (told.width, told.height)),
            ("rotation", info.rotation, told.rotation),
            ("metadata", info.metadata.word, told.metadata),
        ):
            if actual != expected:
                self._found(FindingKind.CONTENT, f"another {what} than the source's")
        times = Timeline(info.seconds_per_pts)
        view = self._view(info)
        self._second.start(told.item, info, view)
        try:
            for part in source.read():
                if not isinstance(part, AudioPacket):
                    times.add(part.pts)
                    self._frame(info, view, part)
        finally:
            self._note(self._second.rest(), view)
        if not self._frames == told.frames == len(self._regions):
            self._found(FindingKind.CONTENT, "another number of frames than the source's")
        elif times.word != told.times:
            self._found(FindingKind.CONTENT, "other times than the source's")

    def _frame(self, info: StreamInfo, view: AnalysisView, picture: Picture) -> None:
        regions = self._regions_of(self._frames)
        due = info.kind is Kind.IMAGE or self._frames % self._policy.verification.stride == 0
        if due and self._second.any:  # first, so that a detector looks while the regions are held against the redaction
            self._second.show(self._frames, picture, view)
            self._searched += 1
            self._side = max(view.width, view.height)
        if len(regions) or (self._zones and self._zones.hide_any):
            self._check_hidden(info, picture, regions)
        self._note(self._second.answered(), view)
        self._frames += 1
        self._session.frames = self._frames
        self._session.beat()
        while self._receive():
            pass

    def _regions_of(self, frame: int) -> Regions:
        return Regions.unpack(self._regions[frame]) if frame < len(self._regions) else Regions.empty()

    def _check_hidden(self, info: StreamInfo, picture: Picture, regions: Regions) -> None:
        if len(self._samples) != info.layout.nbytes:
            self._samples = bytearray(info.layout.nbytes)
        buffer = memoryview(self._samples)
        picture.copy_into(buffer)
        full = info.layout.format.rgb or info.colour.range == _FULL_RANGE
        planes = planes_of(buffer, info.layout)
        changes = uncovered(planes, info.layout, regions, self._policy.redaction, full_range=full)
        self._looked_at += len(regions)
        self._gathered.regions(self._frames, regions, changes)
        if self._zones:
            self._gathered.zones(self._frames, self._zones.shown(planes, full_range=full))

    def _note(self, answers: Iterable[tuple[int, Detections]], view: AnalysisView) -> None:
        """Take in what the second look saw of the classes that are to be hidden."""
        wanted, least = self._policy.detection.classes, self._policy.verification.score
        for frame, found in answers:
            placed = found.in_frame(view)
            named = np.array([self._second.label(int(kind)) in wanted for kind in found.classes], np.bool_)
            counts = named & (found.scores >= least)
            if self._zones:
                counts &= ~self._zones.keeps(_cores(placed.boxes))
            self._gathered.detections(
                frame,
                placed.boxes[counts],
                found.scores[counts],
                found.classes[counts],
                self._regions_of(frame),
                self._policy.redaction.margin,
            )

    def _view(self, info: StreamInfo) -> AnalysisView:
        above, below = _FILM_SCALE if info.kind is Kind.FILM else _IMAGE_SCALE
        first = self._policy.detection.long_side(info.kind, info.width, info.height)
        return AnalysisView.fit(info, long_side=max(1, first * above // below), stride=self._message.analysis_stride)


def _cores(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The middle half of each box: at another scale a box is some pixels larger, and may leave a zone that keeps it."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = (boxes[:, 2:] - boxes[:, :2]) / 4
    return np.concatenate((middles - reach, middles + reach), axis=1)
