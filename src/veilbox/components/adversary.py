"""What anonymize does in a pod without a way out for frames: it tries to undo what redaction does.

Raw ring + boxes -> rates. Of each picture the largest face is redacted in every strength; what is left of it is kept as
a small vector here, and only rates leave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from veilbox.components.edges import Edges
from veilbox.components.gather import BoxGatherer
from veilbox.components.session import Session
from veilbox.core.control import ItemDone, Link, Linked
from veilbox.core.errors import ProtocolError
from veilbox.core.frame import FrameLayout
from veilbox.core.linking import ADVERSARIES, MOST_PICTURES, STRENGTHS, LinkRate
from veilbox.core.policy import Redaction, Style
from veilbox.core.regions import Regions
from veilbox.core.stream import AnalysisView
from veilbox.transport.consumer import FrameView, RingConsumer
from veilbox.transport.info import decode_info
from veilbox.transport.messages import ANALYSED, End, Start
from veilbox.vision.linking import Vectors, eigenfaces, face_vector, link
from veilbox.vision.redact import Noise, Redactor, Samples, planes_of

_FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG
# Whoever has the original does not know the box to the pixel: it is moved by so much of its side, to and fro.
_UNSURE = 0.04

_MARGIN = Redaction().margin

Box = tuple[float, float, float, float]


def run(session: Session, edges: Edges) -> None:
    """Take pictures until the supervisor asks for the rates."""
    _Adversary(session, edges).run()


@dataclass(slots=True)
class _Picture:
    """What is left of one picture's face, by strength: as released, and as somebody would redo it."""

    found: Vectors | None = None
    redone: Vectors | None = None


@dataclass(slots=True)
class _Item:
    """The picture that is on its way."""

    number: int
    layout: FrameLayout
    view: AnalysisView
    full_range: bool
    frames: int = 0
    pending: list[FrameView] = field(default_factory=list)
    ended: End | None = None


class _Adversary:
    """The loop."""

    def __init__(self, session: Session, edges: Edges) -> None:
        self._session = session
        self._raw: RingConsumer = edges.ring_consumer("raw")
        self._boxes = BoxGatherer(edges.boxes_in())
        self._thresholds: Mapping[int, float] = {}
        self._item: _Item | None = None
        self._pictures: dict[int, tuple[_Picture, _Picture]] = {}

    def run(self) -> None:
        """Work until the supervisor says that no more items follow."""
        while not self._session.finishing:
            self._answer()
            progressed = self._boxes.receive()
            progressed |= self._receive_raw()
            progressed |= self._advance()
            if not progressed:
                raw = [] if self._item is not None and self._item.ended is not None else [self._raw.channel]
                self._session.wait(readable=[*raw, *self._boxes.channels])

    def _answer(self) -> None:
        """Tell the rates if the supervisor asked for them."""
        arrived = self._session.arrived()
        if arrived is None:
            return
        message, _ = arrived
        if not isinstance(message, Link):
            raise ProtocolError("not what an adversary takes", actual=type(message).__name__)
        people = np.array(message.people, np.int64)
        if len(people) != len(message.items):
            raise ProtocolError("as many people as items are needed", where="supervisor")
        rates = _rates([self._pictures.get(number) for number in message.items], people, whole=message.whole)
        self._session.send(Linked(rates=tuple(rates), pictures=len(self._pictures)))

    def _receive_raw(self) -> bool:
        if self._item is not None and self._item.ended is not None:
            return False
        message = self._raw.receive()
        match message:
            case None:
                return False
            case Start():
                self._item = self._started(message)
            case FrameView():
                self._current().pending.append(message)
            case End():
                self._current().ended = message
        return True

    def _started(self, start: Start) -> _Item:
        if len(self._pictures) >= MOST_PICTURES:
            raise ProtocolError("more pictures than can be compared", expected=f"<= {MOST_PICTURES}")
        self._thresholds = self._boxes.thresholds(self._session)
        self._session.item, self._session.frames = start.item, 0
        info, view = decode_info(start.info)
        if view is None:
            raise ProtocolError("the start of an item tells no analysis view", where="raw")
        layout = info.layout
        full = layout.format.rgb or info.colour.range == _FULL_RANGE
        return _Item(start.item, layout, view, full)

    def _current(self) -> _Item:
        if self._item is None:
            raise ProtocolError("a frame came before its start", where="raw")
        return self._item

    def _advance(self) -> bool:
        item = self._item
        if item is None:
            return False
        progressed = False
        while item.pending and self._look(item, item.pending[0]):
            self._raw.release(item.pending.pop(0))
            item.frames += 1
            progressed = True
        if item.ended is not None and not item.pending:
            self._session.send(ItemDone(item=item.number, frames=item.frames))
            self._item = None
            progressed = True
        return progressed

    def _look(self, item: _Item, frame: FrameView) -> bool:
        """Keep what is left of a frame's face; False while its boxes are not in."""
        best: Box | None = None
        if frame.frame.flags & ANALYSED:
            known = self._boxes.take(frame.frame.sequence)
            if known is None:
                return False
            found = known.found
            least = np.array([self._thresholds[kind] for kind in found.classes.tolist()], np.float32)
            best = _largest(found.in_frame(item.view).boxes[found.scores >= least])
        if item.number not in self._pictures:  # of a film the first frame
            whole = _inner(item.layout)
            pixels = np.frombuffer(frame.buffer, np.uint8, count=item.layout.nbytes)
            face = _Picture() if best is None else self._redacted(pixels, item, best)
            self._pictures[item.number] = (face, self._redacted(pixels, item, whole))
        return True

    def _redacted(self, pixels: NDArray[np.uint8], item: _Item, box: Box) -> _Picture:
        sign = 1 if item.number % 2 else -1
        x, y = sign * _UNSURE * (box[2] - box[0]), _UNSURE * (box[3] - box[1])
        moved = box[0] + x, box[1] + y, box[2] + x, box[3] + y
        return _Picture(self._vectors(pixels, item, box, Noise.fresh()), self._vectors(pixels, item, moved, None))

    def _vectors(self, pixels: NDArray[np.uint8], item: _Item, box: Box, noise: Noise | None) -> Vectors:
        """(strengths, D): what each strength leaves, with a random part, or without as an adversary redoes it."""
        none = np.zeros(1, np.int32)
        regions = Regions(np.array([box], np.float32), none, none, none)
        left = []
        for strength in STRENGTHS:
            planes: list[Samples] = planes_of(pixels.copy().data, item.layout)
            if strength is not None:
                Redactor(strength, noise).redact(planes, item.layout, regions, full_range=item.full_range)
            left.append(face_vector(planes, item.layout, box))
            self._session.frames += 1
            self._session.beat()
        return np.stack(left)


def _inner(layout: FrameLayout) -> Box:
    """A picture that is one face: the box that with its margin is the picture but for a pixel on each side.

    A region that reaches over the edge would have fewer cells in the picture than it may have.
    """
    x, y = (max(side - 2, 0) * _MARGIN / (1 + 2 * _MARGIN) + 1 for side in (layout.width, layout.height))
    return x, y, max(layout.width - x, x), max(layout.height - y, y)


def _largest(boxes: NDArray[np.float32]) -> Box | None:
    if not len(boxes):
        return None
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    x1, y1, x2, y2 = boxes[int(areas.argmax())].tolist()
    return x1, y1, x2, y2


def _rates(
    pictures: Sequence[tuple[_Picture, _Picture] | None], people: NDArray[np.int64], *, whole: bool
) -> list[LinkRate]:
    told = [(pair[int(whole)], person) for pair, person in zip(pictures, people, strict=True) if pair is not None]
    found = [one.found for one, _ in told if one.found is not None]
    redone = [one.redone for one, _ in told if one.redone is not None]
    who = np.array([person for one, person in told if one.found is not None], np.int64)
    if len(found) < 2:
        return []
    probes, gallery = np.stack(found, axis=1), np.stack(redone, axis=1)
    _, first = np.unique(who, return_index=True)
    others = np.setdiff1d(np.arange(len(who)), first)
    rates = []
    for adversary in ADVERSARIES:
        seen, known = (probes, gallery) if adversary == "pixels" else _projected(probes, gallery)
        for place, strength in enumerate(STRENGTHS):
            numbers = np.arange(len(who))
            rates.append(_rate(strength, adversary, link(seen[place], known[place], numbers, numbers), same=True))
            if len(others):
                results = link(seen[place][others], known[place][first], who[others], who[first])
                rates.append(_rate(strength, adversary, results, same=False))
    return rates


def _projected(probes: Vectors, gallery: Vectors) -> tuple[Vectors, Vectors]:
    mean, directions = eigenfaces(gallery[0])
    seen = ((probes - mean) @ directions.T).astype(np.float32)
    return seen, ((gallery - mean) @ directions.T).astype(np.float32)


def _rate(strength: Redaction | None, adversary: str, result: tuple[float, int, float], *, same: bool) -> LinkRate:
    hits, trials, chance = result
    few = strength is not None and strength.style is not Style.SOLID
    return LinkRate(
        style="none" if strength is None else strength.style,
        cells=strength.cells if strength is not None and few else 0,
        adversary=adversary,
        same=same,
        hits=hits,
        trials=trials,
        chance=chance,
    )
