"""Where tracks were lost, so that a weak detection that comes up there again is believed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veilbox.core.detections import Detections
from veilbox.vision.track.affinity import CERTAIN_IOU, affinities
from veilbox.vision.track.trail import Moment, Trail

# Frames after its last sighting for which a track is remembered: a second at 30 frames a second, in which two people
# who pass each other have changed places.
REMEMBERED = 30
# What is allowed between a prediction and a detection grows by the frame as fast as for a track of unknown speed,
# divided by this: where somebody was heading is known by then, and what is near a lost track is often something else.
_SURER = 6
# The overlap with a track's last place from which on a detection is what was there.
_STAYED = 0.5


class Memory:
    """Confirmed tracks that ended lately.

    Args:
        most: How many are kept, the latest.
    """

    def __init__(self, most: int) -> None:
        self._lost: deque[Trail] = deque(maxlen=most)

    def keep(self, trail: Trail) -> None:
        """Remember a track that will not be continued."""
        self._lost.append(trail)

    def explains(
        self, moment: Moment, detections: Detections, chosen: NDArray[np.intp], known: Sequence[Trail]
    ) -> NDArray[np.bool_]:
        """Which of the chosen detections lie where a lost track would be, or where one was until it leapt away.

        Args:
            moment: Now.
            detections: Of this frame.
            chosen: Indices into them.
            known: Confirmed tracks that were not handed over, those with a detection in this frame among them.
        """
        if not len(chosen):
            return np.zeros(0, np.bool_)
        boxes, classes = detections.boxes[chosen], detections.classes[chosen]
        lost = [trail for trail in (*self._lost, *known) if _remembered(trail, moment)]
        return _lost_there(moment, boxes, classes, lost) | _left_there(moment, boxes, classes, known)


def _remembered(trail: Trail, moment: Moment) -> bool:
    same_scene = trail.sightings[-1].moment.scene == moment.scene
    return same_scene and 0 < trail.unseen(moment) <= REMEMBERED


def _lost_there(
    moment: Moment, boxes: NDArray[np.float32], classes: NDArray[np.int32], lost: Sequence[Trail]
) -> NDArray[np.bool_]:
    """Near where a track was heading, or near where it was seen last: half hidden, its speed was a guess."""
    if not lost:
        return np.zeros(len(boxes), np.bool_)
    unseen = np.array([trail.unseen(moment) for trail in lost]) // _SURER
    heading = np.array([trail.predicted(moment) for trail in lost], np.float32)
    last = np.array([trail.sightings[-1].box for trail in lost], np.float32)
    near = np.isfinite(affinities(heading, boxes, unseen)) | np.isfinite(affinities(last, boxes, unseen))
    return _of_one_class(near, lost, classes)


def _left_there(
    moment: Moment, boxes: NDArray[np.float32], classes: NDArray[np.int32], known: Sequence[Trail]
) -> NDArray[np.bool_]:
    """Where a track was a moment ago and is no more: two people were taken for one, and one of them stays."""
    leapt = [trail for trail in known if not trail.unseen(moment) and len(trail.sightings) > 1]
    if not leapt:
        return np.zeros(len(boxes), np.bool_)
    once = np.ones(len(leapt), np.int64)
    before = affinities(np.array([trail.sightings[-2].box for trail in leapt], np.float32), boxes, once)
    now = affinities(np.array([trail.sightings[-1].box for trail in leapt], np.float32), boxes, once)
    return _of_one_class((before >= _STAYED) & (now < CERTAIN_IOU), leapt, classes)


def _of_one_class(near: NDArray[np.bool_], trails: Sequence[Trail], classes: NDArray[np.int32]) -> NDArray[np.bool_]:
    kinds = np.array([trail.class_index for trail in trails])
    found: NDArray[np.bool_] = (near & (kinds[:, None] == classes[None])).any(axis=0)
    return found
