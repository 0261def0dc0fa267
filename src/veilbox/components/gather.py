"""Boxes of every detector, gathered by frame.

Sequence numbers run on from item to item, so boxes of an item that was aborted are recognised and dropped.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from veilbox.components.introduction import Introduction, decode_introduction
from veilbox.core.detections import MAX_DETECTIONS, Detections
from veilbox.core.errors import ProtocolError
from veilbox.core.frozen import frozen
from veilbox.core.seen import Seen
from veilbox.transport.channel import Channel
from veilbox.transport.messages import Boxes, Start
from veilbox.transport.relay import Receiver
from veilbox.transport.waiting import Waiter

# Class indices of the n-th detector start here times n, so that tracks of different detectors never mix.
_CLASSES_PER_DETECTOR = 1000
# Far above what the analysis ring lets a detector be ahead by; a hostile one must not fill our memory.
_MAX_AHEAD = 1024


@frozen(kw_only=False)
class Gathered:
    """What is known of one frame.

    Attributes:
        found: What any detector found in it.
        seen: What every detector looked at: the whole, or less if one looked at less.
    """

    found: Detections
    seen: Seen


class BoxGatherer:
    """Receives from the detectors' channels and joins what they found in one frame.

    Args:
        edges: By detector, in the plan's order.
    """

    def __init__(self, edges: Mapping[str, Receiver]) -> None:
        self._edges = dict(edges)
        self._order = {name: index for index, name in enumerate(edges)}
        self._known: dict[str, Introduction] = {}
        self._found: dict[int, dict[str, Gathered]] = {}
        self._taken = -1

    @property
    def channels(self) -> list[Channel]:
        """To wait for."""
        return [edge.channel for edge in self._edges.values()]

    def receive(self) -> bool:
        """Take in what has arrived; whether anything had."""
        # Every detector gets its turn, so `any` must not stop at the first that had something.
        arrived = [self._receive_one(name) for name in self._edges]
        return any(arrived)

    def thresholds(self, waiter: Waiter) -> dict[int, float]:
        """From which score on a joined class counts, each detector's own; waits until each has introduced itself."""
        while len(self._known) < len(self._edges):
            if not self.receive():
                waiter.wait(readable=self.channels)
        return {
            _CLASSES_PER_DETECTOR * index + kind: self._known[name].threshold
            for name, index in self._order.items()
            for kind in range(len(self._known[name].classes))
        }

    def take(self, sequence: int) -> Gathered | None:
        """What all detectors say of a frame, or None while one has not answered."""
        parts = self._found.get(sequence, {})
        if len(parts) < len(self._edges):
            return None
        self._taken = sequence
        self._found = {number: found for number, found in self._found.items() if number > sequence}
        found = _joined([_shifted(parts[name].found, index) for name, index in self._order.items()])
        return Gathered(found, _common([part.seen for part in parts.values()]))

    def label(self, index: int) -> str:
        """The class name of a joined class index."""
        detector, kind = divmod(index, _CLASSES_PER_DETECTOR)
        name = list(self._order)[detector]
        classes = self._known[name].classes
        return classes[kind] if kind < len(classes) else f"{name}/{kind}"

    def _receive_one(self, name: str) -> bool:
        message = self._edges[name].receive()
        match message:
            case None:
                return False
            case Start():
                self._known[name] = decode_introduction(message.info)
            case Boxes():
                self._add(name, message)
            case _:
                pass  # the raw ring says when an item ends
        return True

    def _add(self, name: str, message: Boxes) -> None:
        if message.sequence <= self._taken:
            return
        found = Detections.unpack(message.payload)
        known = self._known.get(name)
        if known is None or (len(found) and not 0 <= int(found.classes.max()) < len(known.classes)):
            raise ProtocolError("a detector found a class that it does not have", where=name)
        if name in self._found.setdefault(message.sequence, {}):
            raise ProtocolError("a detector answered twice", where=name, actual=f"frame {message.sequence}")
        if len(found) and message.seen is Seen.NOT:
            raise ProtocolError("a detector found something where it did not look", where=name)
        self._found[message.sequence][name] = Gathered(found, message.seen)
        if len(self._found) > _MAX_AHEAD:
            raise ProtocolError("a detector ran ahead", where=name, expected=f"<= {_MAX_AHEAD} frames")


def _common(seen: list[Seen]) -> Seen:
    """Parts say nothing of what they leave out, so they stand for one detector that looked and one that did not."""
    return seen[0] if len(set(seen)) == 1 else Seen.PARTS


def _shifted(found: Detections, index: int) -> Detections:
    return Detections(found.boxes, found.scores, found.classes + np.int32(index * _CLASSES_PER_DETECTOR))


def _joined(parts: list[Detections]) -> Detections:
    if len(parts) == 1:
        return parts[0]
    scores = np.concatenate([part.scores for part in parts])
    # As in each detector: of more than a picture can hold the best count.
    kept = np.sort(np.argsort(-scores, kind="stable")[:MAX_DETECTIONS])
    return Detections(
        np.concatenate([part.boxes for part in parts])[kept],
        scores[kept],
        np.concatenate([part.classes for part in parts])[kept],
    )
