"""How many frames wait in the rings, and how far apart whole looks are; who fills a ring and who empties it must agree.

A frame waits for the look that answers for it, then for the frames that follow it. Rings that were shorter than both
together would stand still: a detector would wait for a frame that ingest has no slot for.
"""

from __future__ import annotations

from veilbox.core.frozen import frozen
from veilbox.core.policy import Policy
from veilbox.core.stream import Kind, StreamInfo
from veilbox.transport.producer import fitting_slots

# Slots that must stay free for ingest while others wait.
FREE_SLOTS = 2
# Beside those that wait: one frame being decoded, one being redacted, two of slack so that neither side waits for the
# other's jitter.
_RAW_SLACK = 4
# A picture at detection size is a fraction of a frame; four keep a detector busy while ingest decodes.
_ANALYSIS_SLACK = 4
_IMAGE_SLOTS = 2


@frozen
class Pace:
    """Of one item.

    Attributes:
        stride: Frames from one whole look to the next, of those that detectors get.
        raw_slots: What the raw ring should have; it gets what fits.
        analysis_slots: Likewise the analysis ring.
    """

    stride: int
    raw_slots: int
    analysis_slots: int


def pace_of(policy: Policy, info: StreamInfo, ring_bytes: int) -> Pace:
    """The pace of an item: look-ahead first, and whole looks as far apart as the raw ring then has room for.

    Args:
        policy: The job's.
        info: The item's.
        ring_bytes: As every component of a pod is told.
    """
    if info.kind is not Kind.FILM:
        return Pace(stride=1, raw_slots=_IMAGE_SLOTS, analysis_slots=_ANALYSIS_SLACK)
    waiting, longest = policy.tracking.waiting, policy.longest_stride
    wanted = waiting + longest - 1 + _RAW_SLACK
    room = fitting_slots(wanted, info.layout.nbytes, ring_bytes) - FREE_SLOTS - waiting
    stride = max(1, min(longest, room + 1))
    return Pace(stride=stride, raw_slots=wanted, analysis_slots=_ANALYSIS_SLACK + stride - 1)
