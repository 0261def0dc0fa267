"""What a look at parts of a picture tells."""

from __future__ import annotations

from veilbox.core.detections import Detections
from veilbox.core.frozen import frozen


@frozen(kw_only=False)
class Glance:
    """Of one picture.

    Attributes:
        found: What lies clear of the parts' borders within the picture.
        cut: What does not: it may be half of something.
    """

    found: Detections
    cut: Detections
