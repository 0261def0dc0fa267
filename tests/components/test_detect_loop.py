"""Which frames a detector's loop looks at, and that each is answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from veilbox.components.detect import Detect
from veilbox.core.control import Canaries, Configure
from veilbox.core.detections import Detections
from veilbox.core.policy import Detection, Policy, Recall
from veilbox.core.seen import Seen
from veilbox.core.stream import AnalysisView, Kind, StreamInfo
from veilbox.transport.consumer import FrameView
from veilbox.transport.info import encode_info
from veilbox.transport.messages import Boxes, End, Frame, Start
from veilbox.vision.detect.glance import Glance
from veilbox.vision.detect.parts import Place

SIDE, FRAMES = 64, 14


class Played:
    """Session, ring, boxes' edge and model of one detector; the model finds one face everywhere."""

    nms_iou, threshold, floor = 0.3, 0.2, 0.1
    card = SimpleNamespace(classes=("face",), floor=0.1)

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.item = self.frames = self.looks = 0
        self.answers: list[Boxes] = []

    def ring_consumer(self, _edge: str) -> Played:
        return self

    def boxes_out(self) -> Any:
        return SimpleNamespace(start=lambda *_: None, end=lambda *_, **__: None, send=self.answers.append)

    def release(self, _frame: FrameView) -> None: ...

    def beat(self) -> None: ...

    def send(self, _message: object) -> None: ...

    def stream(self, _ring: object) -> Iterator[object]:
        info = StreamInfo(kind=self.kind, width=SIDE, height=SIDE, pixel_format="yuv420p")
        yield Start(item=0, info=encode_info(info, AnalysisView.fit(info, long_side=SIDE, stride=32)))
        picture = memoryview(bytes(SIDE * SIDE * 3))
        for sequence in range(FRAMES):
            yield FrameView(Frame(sequence=sequence, slot=0, generation=0, pts=0, duration=0, decoded_ns=0), picture)
        yield End(item=0, frames=FRAMES)

    def detect(self, _picture: NDArray[np.uint8], _places: Sequence[Place] | None = None) -> Detections:
        self.looks += 1
        boxes = np.array([[8, 8, 24, 24]], np.float32)
        return Detections(boxes, np.array([0.9], np.float32), np.zeros(1, np.int32))

    def glance(self, _picture: NDArray[np.uint8], _places: Sequence[Place]) -> Glance | None:
        return None


# The second look's frames, like pictures, do not follow one another; at `fast` whole looks are six frames apart.
LOOKS = {
    "a still film": (Kind.FILM, Recall.BALANCED, False, 2),
    "pictures": (Kind.IMAGE, Recall.BALANCED, False, FRAMES),
    "verify's second look": (Kind.FILM, Recall.BALANCED, True, FRAMES),
    "fast": (Kind.FILM, Recall.FAST, False, 4),
}


@pytest.mark.parametrize(("kind", "recall", "every", "looks"), LOOKS.values(), ids=LOOKS.keys())
def test_every_frame_is_answered_and_what_stands_still_is_not_looked_at_again(
    kind: Kind, recall: Recall, every: bool, looks: int
) -> None:
    played = Played(kind)
    configure = Configure(
        policy=Policy(detection=Detection(recall=recall)),
        ends=(),
        canaries=Canaries(path="/nowhere", tcp_port=1, abstract_socket="none"),
        ring_bytes=1 << 20,
    )
    one = cast("Any", played)
    Detect(one, configure, one, one, ring="analysis", every=every).run()
    assert played.looks == looks
    assert [answer.sequence for answer in played.answers] == list(range(FRAMES))
    if recall is Recall.BALANCED:
        assert all(answer.seen is Seen.WHOLE and len(Detections.unpack(answer.payload)) for answer in played.answers)
