"""A model card is read strictly or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.core.policy import Recall
from veilbox.vision.detect import ModelCard, parse_card


def card_fields() -> dict[str, Any]:
    return {
        "name": "toy",
        "classes": ["face"],
        "licence": "MIT",
        "source": "made here",
        "digest": str(Digest.of(b"model")),
        "input": {
            "name": "picture",
            "layout": "nhwc",
            "dtype": "uint8",
            "colour": "rgb",
            "mean": [0, 0, 0],
            "scale": [1, 1, 1],
        },
        "outputs": ["heatmap", "size", "offset"],
        "stride": 32,
        "decoding": "centerface",
        "threshold": 0.2,
        "floor": 0.1,
        "nms_iou": 0.3,
    }


def parsed(fields: dict[str, Any]) -> ModelCard:
    return parse_card(json.dumps(fields).encode())


def test_a_good_card_is_read_in_full() -> None:
    card = parsed(card_fields())
    assert card.digest == Digest.of(b"model")
    assert (card.name, card.classes, card.stride, card.decoding) == ("toy", ("face",), 32, "centerface")
    assert (card.input.layout, card.input.dtype, card.input.colour) == ("nhwc", "uint8", "rgb")
    assert (card.threshold, card.floor, card.nms_iou) == (0.2, 0.1, 0.3)


@pytest.mark.parametrize("missing", sorted(card_fields()))
def test_every_field_is_needed(missing: str) -> None:
    fields = card_fields()
    del fields[missing]
    with pytest.raises(ImageError, match=missing):
        parsed(fields)


@pytest.mark.parametrize(
    ("wanted", "shares", "looked_at"),
    [
        (Recall.FAST, (1.0,), (1.0,)),
        (Recall.BALANCED, (1.0,), (1.0, 0.7, 0.4)),
        (Recall.HIGH, (1.0, 0.7), (1.0, 0.7, 0.4)),
    ],
)
def test_smaller_looks_are_taken_where_time_allows(
    wanted: Recall, shares: tuple[float, ...], looked_at: tuple[float, ...]
) -> None:
    assert parsed(card_fields() | {"smaller": [0.7, 0.4]}).looked_at(shares, wanted) == looked_at
    assert parsed(card_fields()).looked_at(shares, wanted) == shares


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("treshold",), 0.5),
        (("input", "stretch"), True),
        (("input", "layout"), "chw"),
        (("input", "dtype"), "float16"),
        (("input", "mean"), [1, 2]),
        (("input", "mean"), [127.5, 127.5, 127.5]),
        (("classes",), []),
        (("classes",), ["face", "face"]),
        (("digest",), "sha256:00"),
        (("stride",), 0),
        (("stride",), 2.5),
        (("threshold",), 1.0),
        (("floor",), 0.0),
        (("floor",), 0.3),
        (("nms_iou",), 0.0),
        (("nms_iou",), "0.3"),
        (("threshold_high",), 0.21),
        (("threshold_high",), 0.09),
        (("square",), 48),
        (("square",), 0),
        (("longest",), 31),
        (("longest",), 4097),
        (("longest",), "640"),
        (("smaller",), [1.0]),
        (("smaller",), [0.0]),
        (("smaller",), [0.5, 0.4, 0.3, 0.2, 0.1]),
        (("training_data",), 5),
        (("recall",), [{"of": "plate", "value": 0.9, "on": "100 pictures"}]),
        (("recall",), [{"of": "face", "value": 1.1, "on": "100 pictures"}]),
        (("recall",), [{"of": "face", "value": 0.9, "on": ""}]),
        (("recall",), [{"of": "face", "value": 0.9}]),
    ],
)
def test_a_wrong_field_is_refused(path: tuple[str, ...], value: object) -> None:
    fields = card_fields()
    place = fields
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ImageError):
        parsed(fields)


def test_what_was_measured_comes_along() -> None:
    card = parsed(card_fields() | {"training_data": "drawings", "recall": [{"of": "face", "value": 0.94, "on": "591"}]})
    assert card.training_data == "drawings"
    assert [(one.of, one.value, one.on) for one in card.recall] == [("face", 0.94, "591")]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'"\xff"', b"null"])
def test_what_is_no_card_is_refused(content: bytes) -> None:
    with pytest.raises(ImageError, match=r"card\.json"):
        parse_card(content)
