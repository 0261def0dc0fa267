"""How a detector introduces itself to whoever takes its boxes."""

from __future__ import annotations

import msgspec

from veilbox.core.errors import ProtocolError
from veilbox.core.frozen import frozen

# A model of 80 COCO classes needs about a kilobyte.
_MAX_CLASSES = 1000


@frozen
class Introduction:
    """What the numbers in a detector's boxes mean.

    Attributes:
        classes: Names in the order of the class indices.
        threshold: Boxes with this score or more count; boxes below only keep tracks alive.
        floor: The lowest score of boxes that keep tracks alive, by the model's card. Lower ones are handed on only
            where a policy asks for them.
    """

    classes: tuple[str, ...]
    threshold: float
    floor: float


def encode_introduction(introduction: Introduction) -> bytes:
    """The JSON that a boxes edge's start carries."""
    return msgspec.json.encode(introduction)


def decode_introduction(data: bytes) -> Introduction:
    """The inverse; the bytes come from another component and are checked.

    Raises:
        ProtocolError: They are no introduction.
    """
    try:
        introduction = msgspec.json.decode(data, type=Introduction)
    except msgspec.MsgspecError as error:
        raise ProtocolError("not a detector's introduction", where="boxes") from error
    ordered = 0 <= introduction.floor <= introduction.threshold <= 1
    if not 0 < len(introduction.classes) <= _MAX_CLASSES or not ordered:
        raise ProtocolError("a detector's introduction is out of bounds", where="boxes")
    return introduction
