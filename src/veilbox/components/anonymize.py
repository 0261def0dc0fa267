"""anonymize: track, fill gaps in both directions, redact; the only component that sees raw frames and boxes together.

Raw ring + boxes -> clean ring. A raw frame waits in its slot until its look-ahead is known; memory is bounded by the
ring, so the look-ahead is too.
"""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from veilbox.components.edges import Edges
from veilbox.components.gather import BoxGatherer, Gathered
from veilbox.components.pace import FREE_SLOTS, pace_of
from veilbox.components.session import Session
from veilbox.core.coefficients import Coefficients
from veilbox.core.control import Configure, ItemDone, OpenItem, Ready
from veilbox.core.detections import Detections
from veilbox.core.errors import ProtocolError
from veilbox.core.frame import FrameLayout
from veilbox.core.policy import Keep, Policy, Tracking
from veilbox.core.regions import Origin, Regions
from veilbox.core.seen import Seen
from veilbox.core.stream import AnalysisView, Kind, StreamInfo
from veilbox.core.zones import Zone
from veilbox.transport.consumer import FrameView, RingConsumer
from veilbox.transport.info import decode_info, encode_info
from veilbox.transport.messages import ANALYSED, Boxes, End, Start
from veilbox.transport.producer import RingProducer
from veilbox.transport.relay import Sender
from veilbox.vision.redact import (
    Noise,
    Redactor,
    Samples,
    Touched,
    Zones,
    coefficient_planes,
    planes_of,
    redact_blocks,
)
from veilbox.vision.track import Cuts, Tracker

# One clean frame being encoded, one waiting, one being written.
_CLEAN_SLOTS = 3
_FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG


def run(session: Session) -> None:
    """Redact every item that arrives on the raw ring."""
    configure, channels = session.configure()
    edges = Edges(configure, channels, session)
    if not any(end.edge == "clean" for end in configure.ends):
        _attack(session, edges)
        return
    session.send(Ready(ready_ns=time.monotonic_ns()))
    _Anonymize(session, configure, edges).run()


def _attack(session: Session, edges: Edges) -> None:
    """In a plan without a way out for frames, try redaction instead of doing it."""
    from veilbox.components import adversary  # noqa: PLC0415 - no job that releases anything needs it

    session.send(Ready(ready_ns=time.monotonic_ns()))
    adversary.run(session, edges)


class Item:
    """One item on its way: frames that wait, and what was covered."""

    def __init__(
        self,
        start: Start,
        policy: Policy,
        thresholds: Mapping[int, float],
        *,
        ring_bytes: int,
        zones: Sequence[Zone] = (),
    ) -> None:
        self.number = start.item
        self.policy = policy
        self.info: StreamInfo
        self.info, view = decode_info(start.info)
        if view is None:
            raise ProtocolError("the start of an item tells no analysis view", where="raw")
        self.view: AnalysisView = view
        self.layout: FrameLayout = self.info.layout
        self.zones = Zones(zones, self.layout, self.info.rotation) if zones else None
        self.kept = 0
        self.blocks = 0
        self.recoded = 0
        self._thresholds = thresholds
        self.tracking = bounded(policy.tracking, start.slots)
        self.stride = pace_of(policy, self.info, ring_bytes).stride
        self.tracker = Tracker(
            self.tracking,
            width=self.info.width,
            height=self.info.height,
            thresholds=thresholds,
            film=self.info.kind is Kind.FILM,
            believe=policy.detection.believed,
        )
        self._cuts = Cuts()
        self.unpushed: OrderedDict[int, FrameView] = OrderedDict()
        self.held: dict[int, FrameView] = {}
        self.covered = dict.fromkeys(Origin, 0)
        self.seen = dict.fromkeys(Seen, 0)
        self._redactor = Redactor(policy.redaction, Noise.fresh())
        self.nbytes = self.info.frame_nbytes
        self.scratch: NDArray[np.uint8] = np.empty(self.nbytes, np.uint8)
        self.frames = 0
        self.received = 0
        self.pushed = 0
        self.ended: End | None = None

    @property
    def announced(self) -> bytes:
        """What export learns of the source: the fields that were parsed here, and of the rest what the policy keeps."""
        audio = self.info.audio if Keep.AUDIO in self.policy.keep else None
        metadata = self.info.metadata.only(self.policy.metadata_fields)
        return encode_info(dataclasses.replace(self.info, audio=audio, metadata=metadata), self.view)

    def receive(self, frame: FrameView) -> None:
        """Take in a frame; which of them the detectors see is the policy's word and not ingest's.

        Raises:
            ProtocolError: The frame says otherwise.
        """
        every = self.policy.detection.sent_every
        expected = self.received % every == 0
        if bool(frame.frame.flags & ANALYSED) is not expected:
            raise ProtocolError("a frame escapes detection", where="raw", expected=f"one frame of {every} seen")
        self.received += 1
        self.unpushed[frame.frame.sequence] = frame

    def hidden_of(self, found: Detections) -> Detections:
        """What was found, in pixels of the coded frame, without what lies in a zone that keeps."""
        placed = found.in_frame(self.view)
        if self.zones is None:
            return placed
        kept = self.zones.keeps(placed.boxes)
        least = np.array([self._thresholds.get(kind, 0.0) for kind in placed.classes.tolist()], np.float32)
        self.kept += int(np.count_nonzero(kept & (placed.scores >= least)))
        return Detections(placed.boxes[~kept], placed.scores[~kept], placed.classes[~kept])

    def redacted(self, frame: FrameView, regions: Regions) -> memoryview:
        """The frame with everything hidden; what is in its slot is not touched.

        Redaction works on a private copy: the clean ring must not hold a raw pixel even for a moment, for export maps
        it and need not wait to be told that a frame is ready.
        """
        if self.info.coefficients is None and not len(regions) and not (self.zones and self.zones.hide_any):
            return frame.buffer
        np.copyto(self.scratch, np.frombuffer(frame.buffer, np.uint8, count=self.nbytes))
        if self.info.coefficients is None:
            self._hide(planes_of(self.scratch.data, self.layout), regions)
        else:
            self._hide_blocks(self.info.coefficients, regions)
        return self.scratch.data

    def _hide(self, planes: list[Samples], regions: Regions) -> None:
        self._redactor.redact(planes, self.layout, regions, full_range=self.full_range)
        if self.zones:
            self.zones.hide(planes, full_range=self.full_range)

    def _hide_blocks(self, kind: Coefficients, regions: Regions) -> None:
        touched: list[Touched] = [
            [(window, None) for window in windows] for windows in self._redactor.reach(self.layout, regions)
        ]
        if self.zones and self.zones.hide_any:
            touched = [[*parts, zone] for parts, zone in zip(touched, self.zones.hidden, strict=True)]
        blocks = coefficient_planes(self.scratch.data, self.layout, kind)
        self.blocks = sum(plane.shape[0] * plane.shape[1] for plane in blocks)
        self.recoded = redact_blocks(blocks, self.layout, kind, touched, lambda planes: self._hide(planes, regions))

    def begins_scene(self, frame: FrameView) -> bool:
        """Whether a frame shows another scene than the last one asked about; ask once about each, in order."""
        if self.info.coefficients is not None:
            return False  # a single picture
        return self._cuts.begins(planes_of(frame.buffer, self.layout)[0])

    def know(self, sequence: int, known: Gathered | None, *, cut: bool) -> None:
        """Hand the first frame that waits for it what detectors say of it, None if they did not get it.

        Args:
            sequence: The frame's.
            known: What they say.
            cut: Whether the frame begins another scene.

        Raises:
            ProtocolError: A detector did not look at the whole of a frame at which the policy has it do so.
        """
        seen = Seen.NOT if known is None else known.seen
        due = known is not None and self.pushed % self.stride == 0
        if due and seen is not Seen.WHOLE:
            raise ProtocolError(
                "a frame escapes detection", where="boxes", expected=f"one frame of {self.stride} seen whole"
            )
        self.pushed += 1
        self.seen[seen] += 1
        found = None if known is None or seen is Seen.NOT else self.hidden_of(known.found)
        self.tracker.push(sequence, found, whole=seen is Seen.WHOLE, cut=cut)
        self.held[sequence] = self.unpushed.pop(sequence)

    @property
    def full_range(self) -> bool:
        """Whether black is 0 rather than 16."""
        return self.layout.format.rgb or self.info.colour.range == _FULL_RANGE or self.layout.pixel_format in _GREYS

    def count(self, regions: Regions) -> None:
        """Add one frame's regions to the statistics."""
        self.frames += 1
        for origin in Origin:
            self.covered[origin] += int(np.count_nonzero(regions.origins == origin))


# Greys of pictures are full range; grey films say so in their colour range.
_GREYS = frozenset({"gray16le", "ya8"})


def bounded(tracking: Tracking, slots: int) -> Tracking:
    """The policy's tracking with its look-ahead cut to what a ring of `slots` slots can hold."""
    return dataclasses.replace(tracking, lookahead=max(0, min(tracking.waiting, slots - FREE_SLOTS)))


class _Anonymize:
    """The loop."""

    def __init__(self, session: Session, configure: Configure, edges: Edges) -> None:
        self._session = session
        self._policy = configure.policy
        self._ring_bytes = configure.ring_bytes
        self._raw: RingConsumer = edges.ring_consumer("raw")
        clean = edges.ring_producer("clean")
        if clean is None:
            raise ProtocolError("an edge is missing", where="clean")
        self._clean: RingProducer = clean
        self._hidden: Sender | None = edges.regions_out()
        self._boxes = BoxGatherer(edges.boxes_in())
        self._item: Item | None = None
        self._told: dict[int, tuple[int, ...]] = {}

    def run(self) -> None:
        """Work until the supervisor says that no more items follow."""
        while not self._session.finishing:
            progressed = self._boxes.receive()
            progressed |= self._receive_raw()
            progressed |= self._advance()
            if not progressed:
                # A channel that is not read now must not end the wait, or the wait would spin.
                raw = [] if self._ending else [self._raw.channel]
                self._session.wait(readable=[*raw, *self._boxes.channels])
        self._clean.leave()

    @property
    def _ending(self) -> bool:
        """Whether the next item waits until this one's boxes are in."""
        return self._item is not None and self._item.ended is not None

    def _receive_raw(self) -> bool:
        if self._ending:
            return False
        message = self._raw.receive()
        match message:
            case None:
                return False
            case Start():
                self._start(message)
            case FrameView():
                self._current().receive(message)
            case End():
                self._current().ended = message
        return True

    def _start(self, start: Start) -> None:
        thresholds, zones = self._boxes.thresholds(self._session), self._zones_of(start.item)
        item = Item(start, self._policy, thresholds, ring_bytes=self._ring_bytes, zones=zones)
        self._session.item, self._session.frames = start.item, 0
        self._clean.start(start.item, item.announced, item.nbytes, wanted_slots=_CLEAN_SLOTS)
        if self._hidden is not None:
            self._hidden.start(start.item)
        self._item = item

    def _zones_of(self, number: int) -> tuple[Zone, ...]:
        """Those of the item's camera, which the supervisor told before it opened the item."""
        if not self._policy.zones:
            return ()
        while number not in self._told:
            arrived = self._session.arrived()
            if arrived is None:
                self._session.wait()
                continue
            message, fds = arrived
            if not isinstance(message, OpenItem) or fds:
                raise ProtocolError("anonymize is told of zones only", actual=type(message).__name__)
            self._told[message.item] = message.zones
        # Items before it that were aborted never ask.
        own = self._told[number]
        self._told = {item: zones for item, zones in self._told.items() if item > number}
        return tuple(self._policy.zones[zone] for zone in own)

    def _current(self) -> Item:
        if self._item is None:
            raise ProtocolError("a frame came before its start", where="raw")
        return self._item

    def _advance(self) -> bool:
        """Push frames whose boxes are in, emit those whose look-ahead is known, end what has ended."""
        item = self._item
        if item is None:
            return False
        if item.ended is not None and item.ended.aborted:
            self._abort(item)
            return True
        progressed = False
        while item.unpushed and self._push_first(item):
            progressed = True
            for sequence, regions in item.tracker.ready():
                self._emit(item, sequence, regions)
        if item.ended is not None and not item.unpushed:
            self._finish(item)
            progressed = True
        return progressed

    def _push_first(self, item: Item) -> bool:
        sequence, frame = next(iter(item.unpushed.items()))
        known = None
        if frame.frame.flags & ANALYSED:
            known = self._boxes.take(sequence)
            if known is None:
                return False
        item.know(sequence, known, cut=item.begins_scene(frame))
        return True

    def _emit(self, item: Item, sequence: int, regions: Regions) -> None:
        frame = item.held.pop(sequence)
        pixels = item.redacted(frame, regions)
        slot = self._clean.acquire()
        slot.buffer[:] = pixels[: item.nbytes]
        self._clean.publish(
            slot,
            sequence=sequence,
            pts=frame.frame.pts,
            duration=frame.frame.duration,
            decoded_ns=frame.frame.decoded_ns,
            flags=0,
        )
        if self._hidden is not None:
            self._hidden.send(Boxes(sequence=sequence, payload=regions.pack()))
        self._raw.release(frame)
        item.count(regions)
        self._session.frames += 1
        self._session.beat()

    def _finish(self, item: Item) -> None:
        for sequence, regions in item.tracker.flush():
            self._emit(item, sequence, regions)
        self._end(item, aborted=False)
        self._session.send(
            ItemDone(
                item=item.number,
                frames=item.frames,
                counts={self._boxes.label(index): count for index, count in item.tracker.tracks.items()},
                covered={origin.name.lower(): count for origin, count in item.covered.items()},
                seen={seen.name.lower(): count for seen, count in item.seen.items()},
                lookahead=item.tracking.lookahead,
                exposure=item.tracker.exposure(self._boxes.label),
                kept=item.kept,
                blocks=item.blocks,
                recoded=item.recoded,
            )
        )
        self._item = None

    def _abort(self, item: Item) -> None:
        for frame in (*item.held.values(), *item.unpushed.values()):
            self._raw.release(frame)
        self._end(item, aborted=True)
        self._item = None

    def _end(self, item: Item, *, aborted: bool) -> None:
        self._clean.end(item.number, aborted=aborted)
        if self._hidden is not None:
            self._hidden.end(item.number, aborted=aborted)
