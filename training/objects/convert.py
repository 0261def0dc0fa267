"""Makes `model.onnx` of the published NanoDet-g: `python -m objects.convert --model nanodet.json --out FOLDER`.

The published graph is a chain of conversions (PyTorch, ONNX, TensorFlow, TensorFlow.js) for one size of picture, full
of transpositions back and forth. This writes it anew: planes throughout, any size whose sides are multiples of 32, a
picture of bytes as its input, one output. Weights stay the published numbers of 16 bits.

Source of the network, its mean, its spread and its classes: `nanodet-g.yml` of the NanoDet project (Apache-2.0).
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from objects.graph_model import GraphModel, Node, read_graph_model

# Opset 17 and IR 8: of 2022, old enough for every runtime in use.
_OPSET, _IR_VERSION = 17, 8
# Red, green, blue; the configuration has them the other way round.
_MEAN = (123.675, 116.28, 103.53)
_SPREAD = (58.395, 57.12, 57.375)
# COCO's classes, and four distributions of eleven steps.
_CLASSES, _STEPS = 80, 11
# TensorFlow's order of axes seen from ours: rows, columns, channels for channels, rows, columns.
_TO_LAST, _TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


@dataclass(frozen=True)
class _Value:
    """What a published node computes.

    Attributes:
        name: Of what computes it here, always with channels first.
        stride: Pixels of the picture for each of its cells.
        last: Whether TensorFlow means it with channels last; so transpositions cost nothing.
        pads: Zeros around it (the lowest number before a pooling): top, left, bottom, right.
    """

    name: str
    stride: int = 1
    last: bool = False
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)


class _Writer:
    """Carries out the published nodes in symbols."""

    def __init__(self, model: GraphModel) -> None:
        self._model = model
        self._values: dict[str, _Value] = {}
        self._unbiased: dict[str, Node] = {}
        self._side = 0
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.heads: list[_Value] = []

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add an operation; the name of what it computes."""
        name = output if output is not None else f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant, once."""
        if name not in {weight.name for weight in self.weights}:
            self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def write(self, picture: str) -> None:
        """Everything from the picture to the three heads."""
        steps: dict[str, Callable[[Node], _Value | None]] = {
            "Transpose": self._transpose,
            "Pad": self._pad,
            "PadV2": self._pad,
            "Conv2D": self._convolution,
            "Add": self._add,
            "LeakyRelu": self._leaky,
            "MaxPool": self._pool,
            "ConcatV2": self._concatenate,
            "ResizeBilinear": self._resize,
            "SplitV": self._split,
        }
        for node in self._model.nodes:
            if node.kind == "Placeholder":
                self._side = int(node.attributes["shape"]["shape"]["dim"][-1]["size"])
                self._values[node.name] = _Value(picture)
            # Constants, and what follows a head, have no value here.
            elif node.kind in steps and {node.inputs[0]} & {*self._values, *self._unbiased}:
                value = steps[node.kind](node)
                if value is not None:
                    self._values[node.name] = value

    def _number(self, name: str) -> NDArray[Any]:
        return self._model.constants[name]

    def _transpose(self, node: Node) -> _Value:
        value = self._values[node.inputs[0]]
        order = self._number(node.inputs[1]).tolist()
        if order != (_TO_FIRST if value.last else _TO_LAST):
            raise ValueError(f"{node.name}: axes in the order {order}")
        return replace(value, last=not value.last)

    def _pad(self, node: Node) -> _Value:
        value = self._values[node.inputs[0]]
        pairs = self._number(node.inputs[1]).tolist()
        rows, columns = pairs[1:3] if value.last else pairs[2:4]
        return replace(value, pads=(rows[0], columns[0], rows[1], columns[1]))

    def _convolution(self, node: Node) -> None:
        if node.text("padding") != "VALID" or node.numbers("dilations") != [1, 1, 1, 1]:
            raise ValueError(f"{node.name}: padding or dilation")
        self._unbiased[node.name] = node

    def _add(self, node: Node) -> _Value:
        first, second = node.inputs
        if first in self._unbiased:
            return self._biased(self._unbiased[first], second)
        value = self._values[first]
        return replace(value, name=self.node("Add", value.name, self._values[second].name))

    def _biased(self, node: Node, bias: str) -> _Value:
        source = self._values[node.inputs[0]]
        kernel = self._number(node.inputs[1]).transpose(3, 2, 0, 1)
        if source.stride == 1:  # the picture's own colours, which the network wants blue first
            kernel = kernel[:, ::-1]
        weight = self._half(f"{node.name}.weight", kernel)
        strides = node.numbers("strides")[1:3]
        name = self.node(
            "Conv",
            source.name,
            weight,
            self._half(f"{node.name}.bias", self._number(bias).ravel()),
            kernel_shape=list(kernel.shape[2:]),
            pads=list(source.pads),
            strides=strides,
        )
        return _Value(name, source.stride * strides[0], last=True)

    def _half(self, name: str, value: NDArray[Any]) -> str:
        """A weight of 16 bits, which a runtime widens once, when it loads the model."""
        return self.node("Cast", self.constant(name, value), to=TensorProto.FLOAT)

    def _leaky(self, node: Node) -> _Value:
        value = self._values[node.inputs[0]]
        return replace(value, name=self.node("LeakyRelu", value.name, alpha=node.real("alpha")))

    def _pool(self, node: Node) -> _Value:
        source = self._values[node.inputs[0]]
        sides, strides = node.numbers("ksize")[1:3], node.numbers("strides")[1:3]
        name = self.node("MaxPool", source.name, kernel_shape=sides, pads=list(source.pads), strides=strides)
        return _Value(name, source.stride * strides[0], last=True)

    def _concatenate(self, node: Node) -> _Value:
        values = [self._values[name] for name in node.inputs[:-1]]
        if int(self._number(node.inputs[-1])) != (3 if values[0].last else 1):
            raise ValueError(f"{node.name}: not along channels")
        return replace(values[0], name=self.node("Concat", *(value.name for value in values), axis=1))

    def _resize(self, node: Node) -> _Value:
        value = self._values[node.inputs[0]]
        stride = self._side // int(self._number(node.inputs[1])[0])
        factor = value.stride / stride
        scales = self.constant(f"scales.{factor}", np.array([1, 1, factor, factor], np.float32))
        name = self.node("Resize", value.name, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
        return replace(value, name=name, stride=stride)

    def _split(self, node: Node) -> None:
        if self._number(node.inputs[1]).tolist() != [_CLASSES, 4 * _STEPS]:
            raise ValueError(f"{node.name}: not a head of COCO's classes")
        self.heads.append(self._values[node.inputs[0]])


def to_onnx(model: GraphModel) -> bytes:
    """The model file.

    Args:
        model: NanoDet-g, as published for TensorFlow.js.

    Returns:
        A model with the input `picture`, (1, h, w, 3) uint8 RGB, sides multiples of 32, and the output `cells`,
        (1, N, 80 + 44) float32, for the cells of the strides 8, 16 and 32: probabilities of COCO's classes, then
        eleven logits each for the distance to the left, top, right and bottom side. Equal bytes for equal numbers.

    Raises:
        ValueError: It is another network.
    """
    writer = _Writer(model)
    planes = writer.node("Cast", writer.node("Transpose", "picture", perm=_TO_FIRST), to=TensorProto.FLOAT)
    mean, scale = (np.array(values, np.float32).reshape(3, 1, 1) for values in (_MEAN, [1 / one for one in _SPREAD]))
    centred = writer.node("Sub", planes, writer.constant("mean", mean))
    writer.write(writer.node("Mul", centred, writer.constant("scale", scale)))
    if len(writer.heads) != 3:
        raise ValueError(f"{len(writer.heads)} heads instead of 3")
    _join(writer)
    graph = helper.make_graph(
        writer.nodes,
        "nanodet-g",
        [helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info("cells", TensorProto.FLOAT, [1, "count", _CLASSES + 4 * _STEPS])],
        initializer=writer.weights,
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION, producer_name="veilbox"
    )
    onnx.checker.check_model(made, full_check=True)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _join(writer: _Writer) -> None:
    """The heads' cells one after the other, finest first, with probabilities."""
    shape = writer.constant("shape", np.array([1, _CLASSES + 4 * _STEPS, -1], np.int64))
    finest_first = sorted(writer.heads, key=lambda head: head.stride)
    flat = [writer.node("Reshape", head.name, shape) for head in finest_first]
    told = writer.node("Transpose", writer.node("Concat", *flat, axis=2), perm=[0, 2, 1])
    sizes = writer.constant("sizes", np.array([_CLASSES, 4 * _STEPS], np.int64))
    writer.nodes.append(helper.make_node("Split", [told, sizes], ["logits", "distances"], axis=2))
    writer.node("Concat", writer.node("Sigmoid", "logits"), "distances", output="cells", axis=2)


def main() -> None:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="nanodet.json, with nanodet.bin beside it")
    parser.add_argument("--out", type=Path, required=True, help="the folder of card.json, in which the digest is set")
    arguments = parser.parse_args()
    model = to_onnx(read_graph_model(arguments.model))
    (arguments.out / "model.onnx").write_bytes(model)
    card = arguments.out / "card.json"
    digest = f'"sha256:{hashlib.sha256(model).hexdigest()}"'
    card.write_text(re.sub(r'"sha256:[0-9a-f]{64}"', digest, card.read_text()))


if __name__ == "__main__":
    main()
