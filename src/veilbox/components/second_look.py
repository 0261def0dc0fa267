"""verify's side of the second look: pictures of finished frames go out over a ring, boxes come back as numbers.

The detectors are components of their own, so verify decodes and judges while they search.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from veilbox.components.edges import Edges
from veilbox.components.gather import BoxGatherer
from veilbox.components.session import Session
from veilbox.core.detections import Detections
from veilbox.core.errors import ProtocolError
from veilbox.core.seen import Seen
from veilbox.core.stream import AnalysisView, StreamInfo
from veilbox.media.source import Picture
from veilbox.transport.info import encode_info
from veilbox.transport.messages import ANALYSED
from veilbox.transport.producer import RingProducer

# One picture is looked at, the next is there already, one is being written.
_SLOTS = 3


class SecondLook:
    """Shows pictures to every second detector and takes what they found, in order.

    Args:
        edges: A ring to write, and a boxes edge from each second detector.
        session: Waits.
    """

    def __init__(self, edges: Edges, session: Session) -> None:
        self._session = session
        self._boxes = BoxGatherer(edges.boxes_in())
        self._ring: RingProducer | None = edges.ring_producer("second")
        self._asked: deque[tuple[int, int]] = deque()
        self._sequence = 0
        self._item = -1

    @property
    def any(self) -> bool:
        """Whether anybody looks."""
        return self._ring is not None

    def start(self, item: int, info: StreamInfo, view: AnalysisView) -> None:
        """Announce an item's pictures."""
        if self._ring is not None:
            size = view.width * view.height * 3
            self._ring.start(item, encode_info(info, view), size, wanted_slots=_SLOTS)
            self._item = item

    def show(self, frame: int, picture: Picture, view: AnalysisView) -> None:
        """Have a frame looked at.

        Args:
            frame: From 0.
            picture: The decoded frame.
            view: As in `start`.
        """
        ring = self._required()
        slot = ring.acquire()
        slot.buffer[:] = picture.analysis(view).reshape(-1).data
        ring.publish(
            slot, sequence=self._sequence, pts=picture.pts, duration=picture.duration, decoded_ns=0, flags=ANALYSED
        )
        self._asked.append((self._sequence, frame))
        self._sequence += 1

    def answered(self) -> Iterator[tuple[int, Detections]]:
        """Frames that every detector has looked at since the last call, with what was found in the picture.

        Raises:
            ProtocolError: One of them did not look at the whole of a frame.
        """
        while self._boxes.receive():
            pass
        while self._asked and (known := self._boxes.take(self._asked[0][0])) is not None:
            if known.seen is not Seen.WHOLE:
                raise ProtocolError("a frame escapes the second look", where="second")
            yield self._asked.popleft()[1], known.found

    def rest(self) -> Iterator[tuple[int, Detections]]:
        """Wait for the item's last frames, and end it."""
        while self._asked:
            yield from self.answered()
            if self._asked:
                self._session.wait(readable=self._boxes.channels)
        if self._ring is not None and self._item >= 0:
            self._ring.end(self._item)
            self._item = -1

    def label(self, kind: int) -> str:
        """The class name of a detection's class."""
        return self._boxes.label(kind)

    def _required(self) -> RingProducer:
        if self._ring is None:
            raise ProtocolError("an edge is missing", where="second")
        return self._ring
