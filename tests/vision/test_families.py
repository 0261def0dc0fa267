"""Every family's outputs become the boxes that they were made of, alone and inside a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.vision.detect import load_detector
from veilbox.vision.detect.anchors import cells, picked
from veilbox.vision.detect.decoding import DECODERS, decoder_named

WIDTH, HEIGHT, CLASSES = 192, 128, 3
SIZE = {"width": WIDTH, "height": HEIGHT, "classes": CLASSES}
Numbers = NDArray[np.float32]
Outputs = list[Numbers]


@dataclass(frozen=True)
class Thing:
    """One box to be told: middle, size, class and score."""

    x: float
    y: float
    width: float
    height: float
    kind: int
    score: float

    @property
    def box(self) -> list[float]:
        return [
            self.x - self.width / 2,
            self.y - self.height / 2,
            self.x + self.width / 2,
            self.y + self.height / 2,
        ]


def zeros(*shape: int) -> Numbers:
    return np.zeros(shape, np.float32)


def place(thing: Thing, stride: int, anchors: int = 1) -> tuple[int, int, int]:
    """Column and row of the cell that a middle lies in, and the cell's number among all."""
    column, row = int(thing.x // stride), int(thing.y // stride)
    return column, row, anchors * (row * -(-WIDTH // stride) + column)


def offsets(strides: tuple[int, ...], stride: int, anchors: int = 1) -> int:
    """How many anchors come before those of a stride."""
    before = strides[: strides.index(stride)]
    return anchors * sum(len(cells(WIDTH, HEIGHT, (one,))[0]) for one in before)


def total(strides: tuple[int, ...], anchors: int = 1) -> int:
    return anchors * len(cells(WIDTH, HEIGHT, strides)[0])


THREE = (8, 16, 32)


def scrfd(thing: Thing, anchors: int) -> Outputs:
    counts = [anchors * len(cells(WIDTH, HEIGHT, (one,))[0]) for one in THREE]
    scores, reach = [zeros(count, CLASSES) for count in counts], [zeros(count, 4) for count in counts]
    column, row, cell = place(thing, 16, anchors)
    x1, y1, x2, y2 = thing.box
    scores[1][cell + anchors - 1, thing.kind] = thing.score
    reach[1][cell + anchors - 1] = np.array([column * 16 - x1, row * 16 - y1, x2 - column * 16, y2 - row * 16]) / 16
    return [*scores, *reach]


def retinaface(thing: Thing) -> Outputs:
    shifts, scores = zeros(1, total(THREE, 2), 4), zeros(1, total(THREE, 2), 1 + CLASSES)
    scores[0, :, 0] = 1
    column, row, cell = place(thing, 8, 2)
    prior = 32.0
    shifts[0, cell + 1, :2] = np.array([thing.x - (column + 0.5) * 8, thing.y - (row + 0.5) * 8]) / (0.1 * prior)
    shifts[0, cell + 1, 2:] = np.log(np.array([thing.width, thing.height]) / prior) / 0.2
    scores[0, cell + 1, 1 + thing.kind] = thing.score
    return [shifts, scores]


def yunet(thing: Thing) -> Outputs:
    counts = [len(cells(WIDTH, HEIGHT, (one,))[0]) for one in THREE]
    kinds, there, told = ([zeros(1, count, columns) for count in counts] for columns in (CLASSES, 1, 4))
    column, row, cell = place(thing, 32)
    kinds[2][0, cell, thing.kind] = thing.score
    there[2][0, cell, 0] = thing.score
    told[2][0, cell] = [
        thing.x / 32 - column,
        thing.y / 32 - row,
        np.log(thing.width / 32),
        np.log(thing.height / 32),
    ]
    return [*kinds, *there, *told]


def yolox(thing: Thing) -> Outputs:
    told = zeros(1, total(THREE), 5 + CLASSES)
    column, row, cell = place(thing, 16)
    told[0, offsets(THREE, 16) + cell, :5] = [
        thing.x / 16 - column,
        thing.y / 16 - row,
        np.log(thing.width / 16),
        np.log(thing.height / 16),
        1.0,
    ]
    told[0, offsets(THREE, 16) + cell, 5 + thing.kind] = thing.score
    return [told]


def yolov5(thing: Thing) -> Outputs:
    told = zeros(1, 7, 5 + CLASSES)
    told[0, 3, :5] = [thing.x, thing.y, thing.width, thing.height, 1.0]
    told[0, 3, 5 + thing.kind] = thing.score
    return [told]


def yolov8(thing: Thing) -> Outputs:
    told = zeros(1, 4 + CLASSES, 9)
    told[0, :4, 5] = [thing.x, thing.y, thing.width, thing.height]
    told[0, 4 + thing.kind, 5] = thing.score
    return [told]


def yolov10(thing: Thing) -> Outputs:
    told = zeros(1, 6, 6)
    told[0, 0] = [*thing.box, thing.score, thing.kind]
    told[0, 1] = [*thing.box, 1.0, CLASSES]
    return [told]


def spread(distance: float, stride: int, steps: int) -> Numbers:
    """Logits whose mean is a distance."""
    low = int(min(distance / stride, steps - 2))
    share = distance / stride - low
    logits = np.full(steps, -40.0, np.float32)
    logits[[low, low + 1]] = np.log(np.maximum([1 - share, share], 1e-12))
    return logits


def nanodet(thing: Thing, strides: tuple[int, ...] = (8, 16, 32, 64), steps: int = 8, shift: float = 0.0) -> Outputs:
    told = zeros(1, total(strides), CLASSES + 4 * steps)
    column, row, cell = place(thing, 16)
    at = offsets(strides, 16) + cell
    told[0, at, thing.kind] = thing.score
    x, y = (column + shift) * 16, (row + shift) * 16
    x1, y1, x2, y2 = thing.box
    told[0, at, CLASSES:] = np.concatenate([spread(side, 16, steps) for side in (x - x1, y - y1, x2 - x, y2 - y)])
    return [told]


def relative(thing: Thing) -> list[float]:
    return [thing.x / WIDTH, thing.y / HEIGHT, thing.width / WIDTH, thing.height / HEIGHT]


def detr(thing: Thing) -> Outputs:
    logits, boxes = zeros(1, 5, CLASSES + 1), zeros(1, 5, 4)
    logits[0, :, CLASSES] = 30
    others = np.log((1 - thing.score) / CLASSES)
    logits[0, 2] = others
    logits[0, 2, thing.kind] = np.log(thing.score)
    boxes[0, 2] = relative(thing)
    return [logits, boxes]


def rtdetr(thing: Thing) -> Outputs:
    logits, boxes = np.full((1, 5, CLASSES), -30, np.float32), zeros(1, 5, 4)
    logits[0, 2, thing.kind] = np.log(thing.score / (1 - thing.score))
    boxes[0, 2] = relative(thing)
    return [logits, boxes]


FAMILIES: dict[str, tuple[str, Callable[[Thing], Outputs]]] = {
    "SCRFD, one anchor": ("scrfd", lambda thing: scrfd(thing, 1)),
    "SCRFD, two anchors": ("scrfd", lambda thing: scrfd(thing, 2)),
    "RetinaFace": ("retinaface", retinaface),
    "YuNet": ("yunet", yunet),
    "YOLOX": ("yolox", yolox),
    "YOLOv5": ("yolov5", yolov5),
    "YOLOv8": ("yolov8", yolov8),
    "YOLOv10": ("yolov10", yolov10),
    "NanoDet-Plus": ("nanodet", nanodet),
    "NanoDet, eight steps": ("nanodetv0", lambda thing: nanodet(thing, THREE, 8, 0.5)),
    "NanoDet, eleven steps": ("nanodetv0", lambda thing: nanodet(thing, THREE, 11, 0.5)),
    "DETR": ("detr", detr),
    "RT-DETR": ("rtdetr", rtdetr),
}
things = st.builds(
    Thing,
    x=st.floats(50, WIDTH - 50),
    y=st.floats(45, HEIGHT - 45),
    width=st.floats(40, 90),
    height=st.floats(40, 80),
    kind=st.integers(0, CLASSES - 1),
    score=st.floats(0.5, 0.95),
)
families = pytest.mark.parametrize("family", FAMILIES)
THING = Thing(90.0, 60.0, 44.0, 52.0, 1, 0.75)


def test_every_decoder_is_held_to_its_family() -> None:
    assert set(DECODERS) == {name for name, _ in FAMILIES.values()} | {"centerface", "points"}


@families
@given(thing=things)
@settings(deadline=None, max_examples=40)
def test_the_box_that_was_told_is_read(family: str, thing: Thing) -> None:
    name, told = FAMILIES[family]
    found = decoder_named(name)(told(thing), floor=0.3, **SIZE)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.classes.tolist() == [thing.kind]
    assert found.scores[0] == pytest.approx(thing.score, abs=1e-3)
    wanted = np.clip(thing.box, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
    assert found.boxes[0] == pytest.approx(wanted, abs=0.05)


@families
def test_what_is_below_the_floor_is_not_told(family: str) -> None:
    name, told = FAMILIES[family]
    assert len(decoder_named(name)(told(THING), floor=0.8, **SIZE).scores) == 0


@families
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1.0, 50.0, 1e4]))
@settings(deadline=None, max_examples=15)
def test_noise_gives_boxes_inside_the_picture_and_scores_that_are_shares(family: str, seed: int, scale: float) -> None:
    name, told = FAMILIES[family]
    random = np.random.default_rng(seed)
    noise = [random.normal(0, scale, part.shape).astype(np.float32) for part in told(THING)]
    found = decoder_named(name)(noise, floor=0.1, **SIZE)
    assert np.isfinite(found.boxes).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, [0, 2]] <= WIDTH).all()
    assert (found.boxes[:, [1, 3]] <= HEIGHT).all()
    assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert ((found.classes >= 0) & (found.classes < CLASSES)).all()


@families
@pytest.mark.parametrize("fault", ["none", "one too few", "another width", "flat"])
def test_other_outputs_are_refused(family: str, fault: str) -> None:
    name, told = FAMILIES[family]
    outputs = told(THING)
    broken = {
        "none": [],
        "one too few": outputs[:-1],
        "another width": [np.concatenate([part, part], axis=-1 if name != "yolov8" else 1) for part in outputs],
        "flat": [part.reshape(-1) for part in outputs],
    }[fault]
    with pytest.raises(ImageError, match=r"card\.json decoding"):
        decoder_named(name)(broken, floor=0.3, **SIZE)


@families
def test_a_model_of_the_family_is_run_as_its_card_says(family: str, tmp_path: Path) -> None:
    name, told = FAMILIES[family]
    outputs = told(THING)
    write(tmp_path, told_by_a_model(outputs), name, len(outputs))
    found = load_detector(tmp_path, threads=1).detect(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert found.classes.tolist() == [THING.kind]
    assert found.boxes[0] == pytest.approx(np.array(THING.box), abs=0.05)


def test_a_graph_of_one_size_sees_the_picture_in_the_corner_of_its_square(tmp_path: Path) -> None:
    thing = Thing(60, 40, 50, 30, 2, 0.75)
    beyond = Thing(60, 120, 50, 30, 2, 0.75)
    told = np.concatenate([yolov5(thing)[0], yolov5(beyond)[0]], axis=1)
    write(tmp_path, told_by_a_model([told], side=128), "yolov5", 1, square=128)
    found = load_detector(tmp_path, threads=1).detect(np.zeros((128, 256, 3), np.uint8))
    # The picture is shown at half its size, in the upper half of the square; the other box lies in the grey.
    assert found.boxes.tolist() == [pytest.approx([70, 50, 170, 110])]


def write(folder: Path, model: bytes, name: str, outputs: int, **more: object) -> None:
    (folder / "model.onnx").write_bytes(model)
    card = {
        "name": "toy",
        "classes": ["person", "car", "plate"],
        "licence": "CC0-1.0",
        "source": "made by a test",
        "digest": str(Digest.of(model)),
        "input": {
            "name": "picture",
            "layout": "nchw",
            "dtype": "float32",
            "colour": "bgr",
            "mean": [127.5, 127.5, 127.5],
            "scale": [0.0078125, 0.0078125, 0.0078125],
        },
        "outputs": [f"told.{number}" for number in range(outputs)],
        "stride": 64,
        "decoding": name,
        "threshold": 0.5,
        "floor": 0.3,
        "nms_iou": 0.5,
    }
    (folder / "card.json").write_text(json.dumps(card | more))


def told_by_a_model(outputs: Outputs, side: int | None = None) -> bytes:
    """A model that tells the same of every picture, and takes pictures of any size or one square."""
    nodes = [
        helper.make_node("ReduceMax", ["picture"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nothing"], ["none"]),
    ]
    tensors = [numpy_helper.from_array(np.zeros((), np.float32), "nothing")]
    shown = []
    for number, part in enumerate(outputs):
        tensors.append(numpy_helper.from_array(part, f"part.{number}"))
        nodes.append(helper.make_node("Add", [f"part.{number}", "none"], [f"told.{number}"]))
        shown.append(helper.make_tensor_value_info(f"told.{number}", TensorProto.FLOAT, part.shape))
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, side or "height", side or "width"])
    graph = helper.make_graph(nodes, "toy", [picture], shown, initializer=tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    content: bytes = made.SerializeToString()
    return content


def test_of_several_classes_a_box_has_its_best() -> None:
    boxes = np.array([[0, 0, 10, 10], [9, 9, 4, 4]], np.float32)
    scores = np.array([[0.2, 0.9, 0.5], [0.3, 0.1, 0.1]], np.float32)
    found = picked(boxes, scores, floor=0.3, width=WIDTH, height=HEIGHT)
    assert found.classes.tolist() == [1, 0]
    assert found.boxes[1].tolist() == [9, 9, 9, 9]


def test_nanodet_tells_every_class_that_a_cell_may_be() -> None:
    told = nanodet(THING, THREE, 11, 0.5)
    told[0][0, offsets(THREE, 16) + place(THING, 16)[2], 2] = 0.4
    found = decoder_named("nanodetv0")(told, floor=0.3, **SIZE)
    assert found.classes.tolist() == [1, 2]
    assert (found.boxes[0] == found.boxes[1]).all()
