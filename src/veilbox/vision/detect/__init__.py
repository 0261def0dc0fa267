"""Where the faces are: any ONNX model with a card, one picture at a time.

Each name is loaded when somebody asks for it: who only reads a card does without arrays, which a component that waits
for its first picture need not load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veilbox.vision.detect.adaptive import AdaptiveStride, Answer, glimpse
    from veilbox.vision.detect.card import Input, ModelCard
    from veilbox.vision.detect.card_file import parse_card, read_card
    from veilbox.vision.detect.changes import ChangedPlaces
    from veilbox.vision.detect.detector import Detector, load_detector
    from veilbox.vision.detect.parts import Place

__all__ = [
    "AdaptiveStride",
    "Answer",
    "ChangedPlaces",
    "Detector",
    "Input",
    "ModelCard",
    "Place",
    "glimpse",
    "load_detector",
    "parse_card",
    "read_card",
]

_HOMES = {
    "AdaptiveStride": "adaptive",
    "Answer": "adaptive",
    "ChangedPlaces": "changes",
    "Detector": "detector",
    "Input": "card",
    "ModelCard": "card",
    "Place": "parts",
    "glimpse": "adaptive",
    "load_detector": "detector",
    "parse_card": "card_file",
    "read_card": "card_file",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
