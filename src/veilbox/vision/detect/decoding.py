"""The decoders by the name that a model card gives."""

from __future__ import annotations

from collections.abc import Mapping

from veilbox.core.errors import ImageError
from veilbox.vision.detect.candidates import Decoder
from veilbox.vision.detect.centerface import decode_centerface
from veilbox.vision.detect.points import decode_points

DECODERS: Mapping[str, Decoder] = {
    "centerface": decode_centerface,
    "points": decode_points,
}


def decoder_named(name: str) -> Decoder:
    """The decoder that a card asks for.

    Raises:
        ImageError: There is none of that name.
    """
    if name not in DECODERS:
        raise ImageError(
            "no decoder of that name",
            where="card.json decoding",
            expected=", ".join(DECODERS),
            actual=name,
            advice="Use a model of a known family, or a newer veilbox",
        )
    return DECODERS[name]
