"""Who is who from frame to frame, and what must be covered where a detector saw nothing."""

from veilbox.vision.track.cuts import Cuts
from veilbox.vision.track.tracker import Tracker

__all__ = ["Cuts", "Tracker"]
