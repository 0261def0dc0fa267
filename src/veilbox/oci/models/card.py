"""What the machine must know of a model from its card. The detector, in its container, reads the rest and is strict."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError

MAX_CARD_BYTES = 64 << 10

# A model's name becomes part of a container's name, of a host name and of a tag.
NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)
_MAX_NAME_CHARS = 40
_ADVICE = "See docs/how-to/bring-a-model.md"

# What a card must say to people before its model is taken in. That nothing was measured can be said too: `[]`.
_TOLD = ("licence", "source", "training_data", "recall")


class Recall(msgspec.Struct, frozen=True):
    """The share of a class's labelled objects that was found, and on what."""

    of: str
    value: float
    on: str


class Card(msgspec.Struct, frozen=True):
    """The fields of a card that are used outside of the detector; see `vision.detect.card` for all of them."""

    name: str
    classes: tuple[str, ...]
    licence: str
    digest: str
    source: str = ""
    training_data: str = ""
    recall: tuple[Recall, ...] = ()

    @property
    def weights(self) -> Digest:
        """The digest of `model.onnx`."""
        return Digest(self.digest)

    @property
    def measured(self) -> str:
        """The recall, on one line."""
        return ", ".join(f"{one.of} {one.value:.3f} ({one.on})" for one in self.recall) or "not measured"


def parse_card(raw: bytes, *, where: str) -> Card:
    """A card from its bytes.

    Raises:
        ImageError: It is no card, or its name cannot be used.
    """
    if len(raw) > MAX_CARD_BYTES:
        raise ImageError("model card is too large", where=where, expected=f"at most {MAX_CARD_BYTES} bytes")
    try:
        card = msgspec.json.decode(raw, type=Card)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError("model card is unreadable", where=where, actual=str(error), advice=_ADVICE) from error
    if not NAME.fullmatch(card.name) or len(card.name) > _MAX_NAME_CHARS:
        raise ImageError(
            "model name cannot be used",
            where=where,
            expected=f"at most {_MAX_NAME_CHARS} of a to z, 0 to 9 and . _ - between them",
            actual=card.name,
        )
    return card


def completed_card(raw: bytes, weights: Digest, *, name: str | None, where: str) -> bytes:
    """A card as it goes into the artifact: with the digest of its file, in the form that images have it in.

    Args:
        raw: The author's card, with or without a digest.
        weights: Of the file that it is given with.
        name: Instead of the card's own.
        where: What errors call it.

    Raises:
        ImageError: It is no card, speaks of another file, or keeps from people what they must know.
    """
    fields = _fields(raw, where)
    missing = [field for field in _TOLD if field not in fields or fields[field] in ("", None)]
    if missing:
        raise ImageError(
            "model card lacks what people must know", where=where, expected=", ".join(missing), advice=_ADVICE
        )
    stated = fields.get("digest", weights.text)
    if stated != weights.text:
        raise ImageError("the card speaks of another file", where=where, expected=str(stated), actual=weights.text)
    named = {"name": name} if name is not None else {}
    done = msgspec.json.format(msgspec.json.encode({**fields, **named, "digest": weights.text}), indent=2) + b"\n"
    parse_card(done, where=where)
    return done


def _fields(raw: bytes, where: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw[: MAX_CARD_BYTES + 1], type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError("model card is unreadable", where=where, actual=str(error), advice=_ADVICE) from error
