"""The door from a `card.json` to a `ModelCard`: strict, so that a misspelt field is an error and not a default."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.vision.detect.card import Input, ModelCard, Recall


class _Input(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    name: str
    layout: Literal["nhwc", "nchw"]
    dtype: Literal["uint8", "float32"]
    colour: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]


class _Recall(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    of: str
    value: float
    on: str


class _Card(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    name: str
    classes: tuple[str, ...]
    licence: str
    source: str
    digest: str
    input: _Input
    outputs: tuple[str, ...]
    stride: int
    decoding: str
    threshold: float
    floor: float
    nms_iou: float
    longest: int | None = None
    threshold_high: float | None = None
    square: int | None = None
    smaller: tuple[float, ...] = ()
    training_data: str = ""
    recall: tuple[_Recall, ...] = ()


def read_card(directory: Path) -> ModelCard:
    """The card in a model's directory.

    Raises:
        ImageError: It is missing or malformed.
    """
    return parse_card(read_file(directory / "card.json"))


def read_file(path: Path) -> bytes:
    """One of a model's files.

    Raises:
        ImageError: It is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(
            "the detector's image lacks a file",
            where=path.name,
            actual=error.strerror or "",
            advice="Build the detector's image again",
        ) from error


def parse_card(content: bytes) -> ModelCard:
    """The card in the bytes of a `card.json`.

    Args:
        content: UTF-8 JSON with the fields of `ModelCard` and no others; those with a default are optional.

    Raises:
        ImageError: It is no JSON, a field is missing, unknown, of the wrong type or out of bounds.
    """
    try:
        wire = msgspec.json.decode(content, type=_Card)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ImageError(
            "the model card cannot be read",
            where="card.json",
            actual=str(error),
            advice="Build the detector's image again",
        ) from error
    return ModelCard(
        name=wire.name,
        classes=wire.classes,
        licence=wire.licence,
        source=wire.source,
        digest=Digest(wire.digest),
        input=Input(**msgspec.structs.asdict(wire.input)),
        outputs=wire.outputs,
        stride=wire.stride,
        decoding=wire.decoding,
        threshold=wire.threshold,
        floor=wire.floor,
        nms_iou=wire.nms_iou,
        longest=wire.longest,
        threshold_high=wire.threshold_high,
        square=wire.square,
        smaller=wire.smaller,
        training_data=wire.training_data,
        recall=tuple(Recall(**msgspec.structs.asdict(one)) for one in wire.recall),
    )
