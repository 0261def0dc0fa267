"""Writes the network as ONNX: `python -m plates.export --checkpoint best.pt --out FOLDER`.

The graph is built here, node by node, from the learnt numbers alone, so that it is the same for the same numbers, holds
nothing of the machine that wrote it, takes any picture size, and can be tested where PyTorch is not installed. Batch
normalisation is folded into the convolutions before it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Numbers = Mapping[str, NDArray[np.float32]]

# Opset 17 and IR 8: of 2022, old enough for every runtime in use.
_OPSET, _IR_VERSION = 17, 8
# As in `network`, which needs PyTorch and so is not imported: a test compares them where it is installed.
CELL = 8
_MEAN, _SPREAD = 114.0, 58.0
_EPSILON = 1e-5  # of PyTorch's BatchNorm2d
_LEAST_LOG_SIDE, _LARGEST_LOG_SIDE = -6.0, 5.0


class _Graph:
    """Nodes and weights while they are added; every method gives the name of what it computes."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output if output is not None else f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        if name not in {weight.name for weight in self.weights}:
            self.weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def plain(self, source: str, prefix: str) -> str:
        """A convolution with a bias and nothing behind it."""
        weight = self.constant(f"{prefix}.weight", self._numbers[f"{prefix}.weight"])
        bias = self.constant(f"{prefix}.bias", self._numbers[f"{prefix}.bias"])
        return self.node("Conv", source, weight, bias, kernel_shape=[1, 1])

    def folded(self, source: str, convolution: str, norm: str, *, stride: int) -> str:
        """A convolution with its batch normalisation folded in."""
        numbers = self._numbers
        scale = numbers[f"{norm}.weight"] / np.sqrt(numbers[f"{norm}.running_var"] + _EPSILON)
        weight = numbers[f"{convolution}.weight"] * scale[:, None, None, None]
        bias = numbers[f"{norm}.bias"] - numbers[f"{norm}.running_mean"] * scale
        side = weight.shape[-1]
        names = self.constant(f"{convolution}.weight", weight), self.constant(f"{convolution}.bias", bias)
        return self.node(
            "Conv", source, *names, kernel_shape=[side, side], pads=[side // 2] * 4, strides=[stride, stride]
        )

    def conv(self, source: str, prefix: str, *, stride: int = 1) -> str:
        """`network._conv`."""
        return self.node("Relu", self.folded(source, f"{prefix}.0", f"{prefix}.1", stride=stride))

    def stage(self, source: str, prefix: str) -> str:
        """A convolution of stride 2 and the residual blocks after it."""
        features = self.conv(source, f"{prefix}.0", stride=2)
        blocks = sum(f"{prefix}.{number}.first.0.weight" in self._numbers for number in range(1, 32))
        for number in range(1, blocks + 1):
            inner = self.conv(features, f"{prefix}.{number}.first")
            change = self.folded(inner, f"{prefix}.{number}.second.0", f"{prefix}.{number}.second.1", stride=1)
            features = self.node("Relu", self.node("Add", features, change))
        return features

    def doubled(self, source: str) -> str:
        """Every cell four times."""
        scales = self.constant("doubled.scales", [1, 1, 2, 2])
        return self.node(
            "Resize",
            source,
            "",
            scales,
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )


def to_onnx(numbers: Numbers) -> bytes:
    """The model file.

    Args:
        numbers: The state of a `network.PlateNetwork`, by PyTorch's names, as arrays.

    Returns:
        A model with the input `picture`, (1, h, w, 3) uint8 RGB, sides multiples of 32, and the outputs `heatmap`
        (1, 1, h/8, w/8), 0 wherever a neighbour is hotter, and `distances` (1, 4, h/8, w/8): pixels from a cell's
        middle to the left, top, right and bottom side. Equal bytes for equal numbers.
    """
    graph = _Graph(numbers)
    planes = graph.node("Transpose", "picture", perm=[0, 3, 1, 2])
    centred = graph.node("Sub", graph.node("Cast", planes, to=TensorProto.FLOAT), graph.constant("mean", _MEAN))
    pictures = graph.node("Mul", centred, graph.constant("scale", 1 / _SPREAD))
    features = _features(graph, pictures)
    _outputs(graph, features)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "plates",
            [helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, "height", "width", 3])],
            [
                helper.make_tensor_value_info("heatmap", TensorProto.FLOAT, [1, 1, "rows", "columns"]),
                helper.make_tensor_value_info("distances", TensorProto.FLOAT, [1, 4, "rows", "columns"]),
            ],
            initializer=graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="veilbox",
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _features(graph: _Graph, pictures: str) -> str:
    """`network.PlateNetwork.forward` up to its head."""
    stem = graph.conv(graph.conv(pictures, "stem.0", stride=2), "stem.1", stride=2)
    eighth = graph.stage(stem, "eighth")
    sixteenth = graph.stage(eighth, "sixteenth")
    last = graph.conv(graph.stage(sixteenth, "last"), "from_last")
    merged = graph.conv(graph.node("Add", sixteenth, graph.doubled(last)), "merge")
    finest = graph.node("Add", eighth, graph.doubled(graph.conv(merged, "from_sixteenth")))
    return graph.conv(graph.conv(finest, "head.0"), "head.1")


def _outputs(graph: _Graph, features: str) -> None:
    heat = graph.node("Sigmoid", graph.plain(features, "heat"))
    hottest = graph.node("MaxPool", heat, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    peak = graph.node("Equal", heat, hottest)
    graph.node("Where", peak, heat, graph.constant("cold", 0.0), output="heatmap")
    limits = graph.constant("least", _LEAST_LOG_SIDE), graph.constant("largest", _LARGEST_LOG_SIDE)
    cells = graph.node("Exp", graph.node("Clip", graph.plain(features, "sides"), *limits))
    graph.node("Mul", cells, graph.constant("cell", float(CELL)), output="distances")


def card_of(model: bytes, *, threshold: float, floor: float) -> dict[str, Any]:
    """The fields of `card.json` for the detector."""
    return {
        "name": "plates",
        "classes": ["plate"],
        "licence": "Apache-2.0",
        "source": "trained by this project: training/plates, on its own drawings and MIT-licensed photographs",
        "digest": f"sha256:{hashlib.sha256(model).hexdigest()}",
        "input": {
            "name": "picture",
            "layout": "nhwc",
            "dtype": "uint8",
            "colour": "rgb",
            "mean": [0.0, 0.0, 0.0],
            "scale": [1.0, 1.0, 1.0],
        },
        "outputs": ["heatmap", "distances"],
        "stride": 32,
        "decoding": "points",
        "threshold": threshold,
        "floor": floor,
        "nms_iou": 0.4,
    }


def write(numbers: Numbers, folder: Path, *, threshold: float, floor: float) -> None:
    """Put `model.onnx` and `card.json` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model = to_onnx(numbers)
    (folder / "model.onnx").write_bytes(model)
    card = card_of(model, threshold=threshold, floor=floor)
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")


def numbers_of(checkpoint: Path) -> dict[str, NDArray[np.float32]]:
    """The averaged weights of a checkpoint of `train`, float32."""
    import torch  # noqa: PLC0415  # only here: all else of this module runs without it

    state = torch.load(checkpoint, weights_only=True)["mean"]
    return {name: value.numpy().astype(np.float32) for name, value in state.items()}


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of model.onnx and card.json")
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument("--floor", type=float, default=0.1)
    arguments = parser.parse_args()
    numbers = numbers_of(arguments.checkpoint)
    write(numbers, arguments.out, threshold=arguments.threshold, floor=arguments.floor)


if __name__ == "__main__":
    main()
