"""A graph model of TensorFlow.js becomes an ONNX model that computes the same, for any size of picture."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest
from numpy.typing import NDArray

from objects.convert import to_onnx
from objects.graph_model import read_graph_model

SIDE, CHANNELS = 64, 124
FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]


class Published:
    """A graph model while it is written: three heads, the coarser ones from the finest at half its size."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.numbers: dict[str, NDArray[Any]] = {}

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append({"name": name, "op": kind, "input": list(inputs), "attr": attributes})
        return name

    def constant(self, name: str, value: Any, kind: type = np.int32) -> str:
        self.numbers[name] = np.asarray(value, kind)
        self.nodes.append({"name": name, "op": "Const", "attr": {}})
        return name

    def turned(self, source: str, name: str, order: list[int]) -> str:
        return self.node("Transpose", name, source, self.constant(f"{name}/perm", order))

    def convolved(self, source: str, name: str, kernel: NDArray[np.float32], stride: int) -> str:
        strides = {"list": {"i": ["1", str(stride), str(stride), "1"]}}
        padding = {"s": base64.b64encode(b"VALID").decode()}
        weights = self.constant(f"{name}/weights", kernel, np.float16)
        dilations = {"list": {"i": ["1"] * 4}}
        made = self.node("Conv2D", name, source, weights, strides=strides, padding=padding, dilations=dilations)
        bias = self.constant(f"{name}/bias", np.linspace(-1, 1, CHANNELS).reshape(1, 1, 1, -1), np.float16)
        return self.node("Add", f"{name}/add", made, bias)

    def head(self, source: str, name: str, rows: int) -> None:
        """Half the size, one more convolution, and the split that marks a head."""
        size = self.constant(f"{name}/size", [rows, rows])
        half = self.node("ResizeBilinear", f"{name}/half", source, size)
        told = self.convolved(half, name, np.eye(CHANNELS, dtype=np.float32)[None, None], 1)
        self.split(self.turned(told, f"{name}/turned", FIRST), name)

    def split(self, source: str, name: str, sizes: tuple[int, int] = (80, 44)) -> None:
        self.node("SplitV", f"{name}/split", source, self.constant(f"{name}/sizes", sizes), f"{name}/sizes")

    def write(self, folder: Path) -> Path:
        manifest = [
            {"name": name, "shape": list(value.shape), "dtype": "int32"}
            if value.dtype == np.int32
            else {
                "name": name,
                "shape": list(value.shape),
                "dtype": "float32",
                "quantization": {"dtype": "float16"},
            }
            for name, value in self.numbers.items()
        ]
        (folder / "net.bin").write_bytes(b"".join(value.tobytes() for value in self.numbers.values()))
        document = {
            "modelTopology": {"node": self.nodes[::-1]},  # the order in the file means nothing
            "weightsManifest": [{"paths": ["net.bin"], "weights": manifest}],
        }
        path = folder / "net.json"
        path.write_text(json.dumps(document))
        return path


KERNEL = np.random.default_rng(3).normal(0, 0.02, (8, 8, 3, CHANNELS)).astype(np.float16).astype(np.float32)


def published(folder: Path, sizes: tuple[int, int] = (80, 44)) -> Path:
    net = Published()
    dims = {"shape": {"dim": [{"size": str(side)} for side in (1, 3, SIDE, SIDE)]}}
    picture = net.node("Placeholder", "picture", shape=dims)
    finest = net.convolved(net.turned(picture, "last", LAST), "finest", KERNEL, 8)
    net.split(net.turned(finest, "first", FIRST), "finest", sizes)
    net.head(finest, "half", SIDE // 16)
    net.head("half/add", "quarter", SIDE // 32)
    return net.write(folder)


def cells(picture: NDArray[np.uint8], model: bytes) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    told: NDArray[np.float32] = session.run(None, {"picture": picture[None]})[0][0]
    return told


@pytest.mark.parametrize("shape", [(64, 64, 3), (32, 96, 3)])
def test_the_heads_tell_what_the_published_graph_would(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    told = cells(picture, to_onnx(read_graph_model(published(tmp_path))))
    blue_first = (picture[..., ::-1] - [103.53, 116.28, 123.675]) / [57.375, 57.12, 58.395]
    rows, columns = shape[0] // 8, shape[1] // 8
    bias = np.linspace(-1, 1, CHANNELS).astype(np.float16).astype(np.float32)
    tiles = blue_first.reshape(rows, 8, columns, 8, 3)
    finest = np.einsum("rycxk,yxko->rco", tiles, KERNEL) + bias
    half = finest.reshape(rows // 2, 2, columns // 2, 2, -1).mean((1, 3)) + bias
    quarter = half.reshape(rows // 4, 2, columns // 4, 2, -1).mean((1, 3)) + bias
    wanted = np.concatenate([part.reshape(-1, CHANNELS) for part in (finest, half, quarter)])
    wanted[:, :80] = 1 / (1 + np.exp(-wanted[:, :80]))
    assert told.shape == wanted.shape
    assert told == pytest.approx(wanted, abs=2e-3)


def test_equal_numbers_give_equal_bytes(tmp_path: Path) -> None:
    path = published(tmp_path)
    assert to_onnx(read_graph_model(path)) == to_onnx(read_graph_model(path))


def test_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a head"):
        to_onnx(read_graph_model(published(tmp_path, (90, 34))))


def test_numbers_must_be_as_many_as_are_named(tmp_path: Path) -> None:
    path = published(tmp_path)
    with (tmp_path / "net.bin").open("ab") as file:
        file.write(b"\0\0")
    with pytest.raises(ValueError, match="bytes of numbers"):
        read_graph_model(path)
