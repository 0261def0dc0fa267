"""Boxes that a detector found in one picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veilbox.core.errors import ProtocolError
from veilbox.core.frozen import frozen
from veilbox.core.stream import AnalysisView

# A crowd of a thousand faces is beyond any labelled picture of WIDER FACE (1,968 in its most crowded one is the
# exception); the bound keeps one message within a socket's buffer.
MAX_DETECTIONS = 2_000
_COLUMNS = 6
# float32 holds every integer up to 2**24 exactly; no label set comes near.
_MAX_CLASS = 1 << 24


@frozen(kw_only=False)
class Detections:
    """Boxes, scores and classes of one picture.

    Attributes:
        boxes: (N, 4) float32, xyxy in pixels of the named picture, half-open: a box covers [x1, x2).
        scores: (N,) float32 in [0, 1].
        classes: (N,) int32, indices into the model card's classes.

    Raises:
        ProtocolError: A shape or type is wrong, a value is not finite, a box has x2 < x1, or there are more than
            `MAX_DETECTIONS`.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int32]

    def __post_init__(self) -> None:
        count = len(self.boxes)
        shapes = (self.boxes.shape, self.scores.shape, self.classes.shape)
        types = tuple(part.dtype.name for part in (self.boxes, self.scores, self.classes))
        if shapes != ((count, 4), (count,), (count,)) or types != ("float32", "float32", "int32"):
            raise ProtocolError(
                "detections have the wrong shape or type",
                expected="(N, 4) float32, (N,) float32, (N,) int32",
                actual=f"{shapes} {types}",
            )
        if count > MAX_DETECTIONS:
            raise ProtocolError("too many detections", expected=f"<= {MAX_DETECTIONS}", actual=str(count))
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.scores).all()):
            raise ProtocolError("a detection is not finite")
        if (self.boxes[:, 2:] < self.boxes[:, :2]).any():
            raise ProtocolError("a box has its corners swapped", expected="x1 <= x2 and y1 <= y2")

    @classmethod
    def empty(cls) -> Detections:
        """No detection."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    def __len__(self) -> int:
        return len(self.boxes)

    def pack(self) -> bytes:
        """Six little-endian float32 a detection: x1, y1, x2, y2, score, class."""
        columns = (self.boxes, self.scores[:, None], self.classes[:, None].astype(np.float32))
        return np.concatenate(columns, axis=1).astype("<f4").tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> Detections:
        """The inverse of `pack`; the bytes come from another component and are checked."""
        if len(payload) % (4 * _COLUMNS):
            raise ProtocolError(
                "detections are cut off", expected=f"a multiple of {4 * _COLUMNS} bytes", actual=str(len(payload))
            )
        rows = np.frombuffer(payload, "<f4").astype(np.float32).reshape(-1, _COLUMNS)
        if not np.isfinite(rows).all():
            raise ProtocolError("a detection is not finite")
        if ((rows[:, 5] < 0) | (rows[:, 5] > _MAX_CLASS)).any():
            raise ProtocolError("a detection's class is out of bounds", expected=f"0 to {_MAX_CLASS}")
        return cls(rows[:, :4].copy(), rows[:, 4].copy(), rows[:, 5].astype(np.int32))

    def in_frame(self, view: AnalysisView) -> Detections:
        """The same detections in pixels of the coded frame, undoing the view's turn and scale."""
        x1, y1, x2, y2 = self.boxes.T
        width, height = view.width, view.height
        turned = {
            0: (x1, y1, x2, y2),
            90: (height - y2, x1, height - y1, x2),
            180: (width - x2, height - y2, width - x1, height - y1),
            270: (y1, width - x2, y2, width - x1),
        }[view.rotation]
        columns, rows = view.unrotated
        scale = np.array([view.frame_width / columns, view.frame_height / rows] * 2, np.float32)
        return Detections(np.stack(turned, axis=1) * scale, self.scores, self.classes)
