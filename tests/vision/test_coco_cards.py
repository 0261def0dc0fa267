"""The cards that the guide hands out fit models of the names and shapes that they are for."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from veilbox.core.digest import Digest
from veilbox.oci.image.definition import MODELS
from veilbox.vision.detect import load_detector
from veilbox.vision.detect.card_file import parse_card

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
CARDS = sorted((HOW_TO / "coco-cards").glob("*.json"))
cards = pytest.mark.parametrize("path", CARDS, ids=lambda path: str(path.stem))

SIDE, CAR = 416, 2


def of_yolox() -> NDArray[np.float32]:
    """One car: middle (120, 88), 64 x 32 pixels, in the cell of stride 16 at (7, 5)."""
    told = np.zeros((1, 52 * 52 + 26 * 26 + 13 * 13, 85), np.float32)
    cell = told[0, 52 * 52 + 5 * 26 + 7]
    cell[:5] = [0.5, 0.5, np.log(64 / 16), np.log(32 / 16), 1.0]
    cell[5 + CAR] = 0.9
    return told


def of_nanodet_plus() -> NDArray[np.float32]:
    """The same car, by distances of 1.5 and 0.5 strides from the corner of that cell to the left and top, and so on."""
    told = np.zeros((1, 52 * 52 + 26 * 26 + 13 * 13 + 7 * 7, 112), np.float32)
    cell = told[0, 52 * 52 + 5 * 26 + 7]
    cell[CAR] = 0.9
    steps = np.full((4, 8), -40.0, np.float32)
    for side, pair in enumerate(((1, 2), (0, 1), (2, 3), (1, 2))):
        steps[side, list(pair)] = 0.0
    cell[80:] = steps.ravel()
    return told


OUTPUTS = {"yolox-tiny": of_yolox, "nanodet-plus-m": of_nanodet_plus}


def model_of(name: str, told: NDArray[np.float32]) -> bytes:
    """A model that tells the same of every picture, under the names of the published one."""
    nodes = [
        helper.make_node("ReduceMax", [name], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nothing"], ["none"]),
        helper.make_node("Add", ["told", "none"], ["output"]),
    ]
    weights = [numpy_helper.from_array(np.zeros((), np.float32), "nothing"), numpy_helper.from_array(told, "told")]
    picture = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, told.shape)
    graph = helper.make_graph(nodes, "published", [picture], [output], initializer=weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    content: bytes = made.SerializeToString()
    return content


def test_there_is_a_card_for_each_model() -> None:
    assert {path.stem for path in CARDS} == set(OUTPUTS)


@cards
def test_the_page_and_the_card_name_one_file(path: Path) -> None:
    card = parse_card(path.read_bytes())
    page = (HOW_TO / "bring-a-coco-model.md").read_text("utf-8")
    assert card.digest.hex in re.findall(r"`([0-9a-f]{64})`", page)
    assert f"`{card.source.removeprefix('https://github.com/')}`" in page


@cards
def test_classes_are_cocos_in_cocos_order(path: Path) -> None:
    built_in = parse_card((MODELS / "objects" / "card.json").read_bytes())
    assert parse_card(path.read_bytes()).classes == built_in.classes


@cards
def test_a_model_of_its_shapes_is_read(path: Path, tmp_path: Path) -> None:
    told = OUTPUTS[path.stem]()
    card = msgspec.json.decode(path.read_bytes())
    model = model_of(card["input"]["name"], told)
    (tmp_path / "model.onnx").write_bytes(model)
    (tmp_path / "card.json").write_bytes(msgspec.json.encode(card | {"digest": Digest.of(model).text}))
    # Twice as large as the model's square: every box doubles.
    found = load_detector(tmp_path, threads=1).detect(np.zeros((512, 832, 3), np.uint8))
    assert found.classes.tolist() == [CAR]
    assert found.scores.tolist() == pytest.approx([0.9])
    wanted = {"yolox-tiny": [88, 72, 152, 104], "nanodet-plus-m": [88, 72, 152, 104]}[path.stem]
    assert found.boxes[0] == pytest.approx(2 * np.array(wanted), abs=0.2)
