"""detect: find boxes in the analysis picture; one container for each model.

Analysis ring -> boxes, as numbers over a socket. No component of this kind sees a full frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilbox.components.edges import Edges
from veilbox.components.introduction import Introduction, encode_introduction
from veilbox.components.model import MODELS, introduce, model_folder
from veilbox.components.pace import pace_of
from veilbox.components.session import Session
from veilbox.core.control import Configure, ItemDone
from veilbox.core.detections import Detections
from veilbox.core.errors import ProtocolError
from veilbox.core.seen import Seen
from veilbox.core.stream import AnalysisView, Kind
from veilbox.transport.consumer import FrameView, RingConsumer
from veilbox.transport.info import decode_info
from veilbox.transport.messages import Boxes, End, Start
from veilbox.transport.relay import Sender
from veilbox.vision.detect import AdaptiveStride, Answer, ChangedPlaces, Detector, Place, glimpse, load_detector
from veilbox.vision.detect.candidates import Candidates
from veilbox.vision.detect.nms import suppress

# Boxes of different classes from this overlap on are one thing. In 30 labelled street photographs two things of
# different classes overlapped by 0.28 at most.
_ONE_THING = 0.8

# Shorter side of the picture that a model is tried on, pixels; four of the largest strides.
_TRIAL_SIDE = 256


def run(session: Session, models: Path = MODELS) -> None:
    """Detect in every analysis picture until ingest's last item; without edges only try whether the model works."""
    configure, channels = session.configure()
    edges = Edges(configure, channels, session)
    detector = _load(models, configure)
    if not channels:
        detector.detect(_blank(detector))
    introduce(session, detector.card)
    if channels:
        Detect(session, configure, detector, edges, ring="analysis", every=False).run()


def _blank(detector: Detector) -> NDArray[np.uint8]:
    """A picture of nothing, two sides of different length, to see that outputs fit the decoder."""
    side = detector.card.stride * max(1, _TRIAL_SIDE // detector.card.stride)
    return np.zeros((side, 2 * side, 3), np.uint8)


def _load(models: Path, configure: Configure) -> Detector:
    detection = configure.policy.detection
    return load_detector(
        model_folder(models),
        threads=len(os.sched_getaffinity(0)),
        threshold=detection.threshold,
        floor=detection.floor,
        recall=detection.recall,
    )


class Detect:
    """The loop of one detector.

    Args:
        session: The supervisor's side of the conversation.
        configure: The job's settings.
        detector: What looks.
        edges: A ring of pictures, and where boxes go.
        ring: The name of the ring's edge.
        every: Whether to look at every picture, whatever the policy says.
    """

    def __init__(
        self, session: Session, configure: Configure, detector: Detector, edges: Edges, *, ring: str, every: bool
    ) -> None:
        self._session = session
        self._detector = detector
        self._edge = ring
        self._ring: RingConsumer = edges.ring_consumer(ring)
        self._boxes: Sender = edges.boxes_out()
        card = detector.card
        wanted = configure.policy.detection.classes
        self._wanted = np.array([name in wanted for name in card.classes])
        # With an anonymizer behind it, weak boxes are handed on: they keep tracks alive. As a result they are noise,
        # unless somebody asked for them.
        tracked = any(end.edge == "boxes" and end.peer == "anonymize" for end in configure.ends)
        asked = configure.policy.detection.floor is not None
        self._least = detector.floor if tracked or asked else detector.threshold
        floor = min(card.floor, detector.threshold)
        self._introduction = encode_introduction(
            Introduction(classes=card.classes, threshold=detector.threshold, floor=floor)
        )
        self._policy = configure.policy
        self._ring_bytes = configure.ring_bytes
        self._every = every
        self._view: AnalysisView | None = None
        # None where every frame is answered by itself.
        self._adaptive: AdaptiveStride | None = None
        # None where frames do not follow one another, or may be left out.
        self._changed: ChangedPlaces | None = None
        # Frames without an answer, by their place in the item.
        self._held: dict[int, FrameView] = {}

    def run(self) -> None:
        """Handle messages until the supervisor finishes and the ring is drained."""
        for message in self._session.stream(self._ring):
            match message:
                case Start():
                    self._start(message)
                case End():
                    self._end(message)
                case FrameView():
                    self._frame(message)

    def _start(self, start: Start) -> None:
        info, self._view = decode_info(start.info)
        self._session.item, self._session.frames = start.item, 0
        longest = 1 if self._every else pace_of(self._policy, info, self._ring_bytes).stride
        self._adaptive = None
        follow = info.kind is Kind.FILM and longest == 1 and not self._every
        self._changed = ChangedPlaces(self._detector) if follow else None
        if longest > 1:
            threshold = self._detector.threshold
            # Who asks for boxes below the card's floor to weigh them up must not change where is looked.
            floor = min(self._detector.card.floor, threshold)
            self._adaptive = AdaptiveStride(self._look, longest=longest, threshold=threshold, floor=floor)
        self._boxes.start(start.item, self._introduction)

    def _end(self, end: End) -> None:
        if end.aborted:
            self._drop()
        elif self._adaptive is not None:
            self._answer(self._adaptive.end())
        self._boxes.end(end.item, aborted=end.aborted)
        if not end.aborted:
            self._session.send(ItemDone(item=end.item, frames=self._session.frames))

    def _frame(self, frame: FrameView) -> None:
        index = self._session.frames
        self._held[index] = frame
        self._session.frames += 1
        if self._adaptive is None:
            self._answer([Answer(index, Seen.WHOLE, self._look(index, None))])
        else:
            self._answer(self._adaptive.take(index, glimpse(self._picture(index))))

    def _look(self, index: int, places: Sequence[Place] | None) -> Detections:
        self._session.beat()  # one frame may settle a whole stretch
        picture = self._picture(index)
        found = self._detector.detect(picture, places) if self._changed is None else self._changed.detect(picture)
        return self._select(found)

    def _picture(self, index: int) -> NDArray[np.uint8]:
        """A held frame in place; not to be kept."""
        if self._view is None:
            raise ProtocolError("a frame came before its start", where=self._edge)
        shape = (self._view.height, self._view.width, 3)
        buffer = self._held[index].buffer
        return np.frombuffer(buffer, np.uint8, count=shape[0] * shape[1] * 3).reshape(shape)

    def _answer(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            frame = self._held.pop(answer.index)
            sequence = frame.frame.sequence
            self._ring.release(frame)
            self._boxes.send(Boxes(sequence=sequence, payload=answer.found.pack(), seen=answer.seen))

    def _drop(self) -> None:
        for frame in self._held.values():
            self._ring.release(frame)
        self._held.clear()

    def _select(self, found: Detections) -> Detections:
        keep = np.flatnonzero(self._wanted[found.classes] & (found.scores >= self._least))
        if np.count_nonzero(self._wanted) > 1:
            keep = keep[_one_class_each(found.boxes[keep], found.scores[keep])]
        return Detections(found.boxes[keep], found.scores[keep], found.classes[keep])


def _one_class_each(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Where a thing may be a car or a truck, the better guess, so that it is followed and counted once."""
    things = Candidates(boxes, scores, np.zeros(len(boxes), np.int32))
    return suppress(things, iou=_ONE_THING, limit=len(boxes))
