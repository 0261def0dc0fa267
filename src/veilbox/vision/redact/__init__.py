"""What is done to the pixels: in place, on the planes as they lie in the ring."""

from veilbox.vision.redact.planes import Samples, planes_of
from veilbox.vision.redact.redactor import Redactor
from veilbox.vision.redact.uncovered import uncovered

__all__ = ["Redactor", "Samples", "planes_of", "uncovered"]
