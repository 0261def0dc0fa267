"""Boxes of several detectors become those of one frame, and every class keeps its own measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from veilbox.components.gather import BoxGatherer
from veilbox.components.introduction import Introduction, encode_introduction
from veilbox.core.detections import MAX_DETECTIONS, Detections
from veilbox.core.errors import ProtocolError
from veilbox.core.seen import Seen
from veilbox.transport import channel as edge_channel
from veilbox.transport.channel import Channel
from veilbox.transport.messages import Boxes, Message, Start
from veilbox.transport.relay import Receiver
from veilbox.transport.waiting import Waiter

FACES, PLATES = "detect-centerface", "detect-plates"


class Never:
    """Waiting would mean that something is missing."""

    def wait(self, *, readable: Sequence[Channel] = (), writable: Sequence[Channel] = ()) -> None:
        raise AssertionError((readable, writable))


class Detecting:
    """Two detectors' ends of their boxes edges."""

    def __init__(self) -> None:
        pairs = {name: edge_channel.pair() for name in (FACES, PLATES)}
        self._ends = {name: Channel(left, name="boxes") for name, (left, _) in pairs.items()}
        self._received = {name: Channel(right, name="boxes") for name, (_, right) in pairs.items()}
        self.gatherer = BoxGatherer({name: Receiver(end, Boxes) for name, end in self._received.items()})

    def say(self, name: str, message: Message) -> None:
        assert self._ends[name].try_send(message)
        self.gatherer.receive()

    def introduce(self) -> None:
        for name, one in (
            (FACES, Introduction(classes=("face",), threshold=0.2, floor=0.1)),
            (PLATES, Introduction(classes=("plate", "badge"), threshold=0.45, floor=0.2)),
        ):
            self.say(name, Start(item=0, info=encode_introduction(one)))

    def close(self) -> None:
        for end in (*self._ends.values(), *self._received.values()):
            end.close()


@pytest.fixture
def two() -> Iterator[Detecting]:
    detecting = Detecting()
    detecting.introduce()
    yield detecting
    detecting.close()


def waiter() -> Waiter:
    return Never()


def found(sequence: int, *rows: tuple[float, int], seen: Seen = Seen.WHOLE) -> Boxes:
    """Boxes of the given scores and classes."""
    boxes = np.array([[10 * place, 0, 10 * place + 8, 8] for place in range(len(rows))], np.float32).reshape(-1, 4)
    scores = np.array([score for score, _ in rows], np.float32)
    classes = np.array([kind for _, kind in rows], np.int32)
    return Boxes(sequence=sequence, payload=Detections(boxes, scores, classes).pack(), seen=seen)


def test_every_class_counts_from_its_own_detectors_score_on(two: Detecting) -> None:
    assert two.gatherer.thresholds(waiter()) == {0: 0.2, 1000: 0.45, 1001: 0.45}


@pytest.mark.parametrize("order", [(FACES, PLATES), (PLATES, FACES)])
def test_a_frame_waits_for_both_and_does_not_depend_on_who_is_first(two: Detecting, order: tuple[str, str]) -> None:
    said = {FACES: found(0, (0.9, 0)), PLATES: found(0, (0.5, 1), (0.3, 0))}
    two.say(order[0], said[order[0]])
    assert two.gatherer.take(0) is None
    two.say(order[1], said[order[1]])
    taken = two.gatherer.take(0)
    assert taken is not None
    assert taken.found.classes.tolist() == [0, 1001, 1000]
    assert [two.gatherer.label(kind) for kind in taken.found.classes.tolist()] == ["face", "badge", "plate"]


def test_of_more_than_a_picture_can_hold_the_best_stay(two: Detecting) -> None:
    two.say(FACES, found(0, *[(0.5, 0)] * MAX_DETECTIONS))
    two.say(PLATES, found(0, (0.9, 0), (0.1, 0)))
    taken = two.gatherer.take(0)
    assert taken is not None
    assert len(taken.found) == MAX_DETECTIONS
    assert taken.found.classes.tolist().count(1000) == 1
    assert taken.found.scores.min() == np.float32(0.5)


def test_a_class_that_a_detector_does_not_have_is_its_fault(two: Detecting) -> None:
    with pytest.raises(ProtocolError, match="does not have"):
        two.say(FACES, found(0, (0.9, 1)))


def test_nobody_answers_twice(two: Detecting) -> None:
    two.say(PLATES, found(0))
    with pytest.raises(ProtocolError, match="out of order"):
        two.say(PLATES, found(0))


@pytest.mark.parametrize(
    ("faces", "plates", "both"),
    [
        (Seen.WHOLE, Seen.WHOLE, Seen.WHOLE),
        (Seen.NOT, Seen.NOT, Seen.NOT),
        (Seen.WHOLE, Seen.NOT, Seen.PARTS),
        (Seen.WHOLE, Seen.PARTS, Seen.PARTS),
        (Seen.PARTS, Seen.NOT, Seen.PARTS),
    ],
)
def test_a_frame_is_whole_only_if_every_detector_looked_at_the_whole(
    two: Detecting, faces: Seen, plates: Seen, both: Seen
) -> None:
    two.say(FACES, found(0, seen=faces))
    two.say(PLATES, found(0, seen=plates))
    taken = two.gatherer.take(0)
    assert taken is not None
    assert taken.seen is both


def test_nothing_is_found_where_nobody_looked(two: Detecting) -> None:
    with pytest.raises(ProtocolError, match="where it did not look"):
        two.say(FACES, found(0, (0.9, 0), seen=Seen.NOT))
