"""What is done to the pixels: in place, on the planes as they lie in the ring."""

from veilbox.vision.redact.blocks import Touched, coefficient_planes, redact_blocks
from veilbox.vision.redact.noise import Noise
from veilbox.vision.redact.planes import Samples, planes_of
from veilbox.vision.redact.redactor import Redactor
from veilbox.vision.redact.uncovered import UNCOVERED, uncovered
from veilbox.vision.redact.zones import Zones

__all__ = [
    "UNCOVERED",
    "Noise",
    "Redactor",
    "Samples",
    "Touched",
    "Zones",
    "coefficient_planes",
    "planes_of",
    "redact_blocks",
    "uncovered",
]
