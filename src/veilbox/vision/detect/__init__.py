"""Where the faces are: any ONNX model with a card, one picture at a time."""

from veilbox.vision.detect.adaptive import AdaptiveStride, Answer, glimpse
from veilbox.vision.detect.card import Input, ModelCard
from veilbox.vision.detect.card_file import parse_card
from veilbox.vision.detect.detector import Detector, load_detector
from veilbox.vision.detect.parts import Place

__all__ = [
    "AdaptiveStride",
    "Answer",
    "Detector",
    "Input",
    "ModelCard",
    "Place",
    "glimpse",
    "load_detector",
    "parse_card",
]
