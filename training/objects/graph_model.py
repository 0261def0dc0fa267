"""Reads a graph model of TensorFlow.js without TensorFlow: a JSON file of nodes, and one of numbers.

Source: the graph-model format of @tensorflow/tfjs-converter, `docs` and `IWeightsManifest`: numbers lie one after the
other in the order of the manifest, float16 where `quantization` says so; attributes of text are base64.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KINDS = {"float32": np.float32, "float16": np.float16, "int32": np.int32}


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation.

    Attributes:
        kind: Its name in TensorFlow.
        inputs: Names of nodes; `NAME:1` is a node's second output.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def numbers(self, attribute: str) -> list[int]:
        """An attribute that is a list of whole numbers."""
        return [int(number) for number in self.attributes[attribute]["list"]["i"]]

    def text(self, attribute: str) -> str:
        """An attribute that is a text."""
        return base64.b64decode(self.attributes[attribute]["s"]).decode()

    def real(self, attribute: str) -> float:
        """An attribute that is a number."""
        return float(self.attributes[attribute]["f"])


@dataclass(frozen=True, kw_only=True)
class GraphModel:
    """Operations in an order in which they can be carried out, and constants by name, as published."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]


def read_graph_model(description: Path) -> GraphModel:
    """Read `NAME.json` and the files that it names beside it.

    Raises:
        ValueError: There are more or fewer numbers than it names.
    """
    document = json.loads(description.read_bytes())
    constants: dict[str, NDArray[Any]] = {}
    for group in document["weightsManifest"]:
        content = b"".join((description.parent / name).read_bytes() for name in group["paths"])
        constants |= dict(_constants(group["weights"], content))
    nodes = {one["name"]: _node(one) for one in document["modelTopology"]["node"]}
    return GraphModel(nodes=tuple(_ordered(nodes)), constants=constants)


def _node(told: Mapping[str, Any]) -> Node:
    inputs = tuple(told.get("input", ()))
    return Node(name=told["name"], kind=told["op"], inputs=inputs, attributes=told.get("attr", {}))


def _constants(weights: list[dict[str, Any]], content: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    at = 0
    for one in weights:
        kind = np.dtype(_KINDS[one.get("quantization", one)["dtype"]])
        size = math.prod(one["shape"]) * kind.itemsize
        yield one["name"], np.frombuffer(content[at : at + size], kind).reshape(one["shape"])
        at += size
    if at != len(content):
        raise ValueError(f"{len(content)} bytes of numbers where {at} are named")


def _ordered(nodes: Mapping[str, Node]) -> list[Node]:
    """Inputs before what reads them."""
    done: dict[str, Node] = {}
    waiting = list(nodes)[::-1]
    while waiting:
        node = nodes[waiting[-1]]
        lacking = [name for name in _names(node) if name not in done]
        if lacking:
            waiting += lacking
        else:
            done[waiting.pop()] = node
    return list(done.values())


def _names(node: Node) -> list[str]:
    return [name.split(":")[0] for name in node.inputs]
