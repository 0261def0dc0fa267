"""What a model's file must be before a runtime may load it: ONNX, whole, by itself, and what its card says.

An ONNX file is foreign input, and ONNX Runtime's loader is a large parser in C++. So this looks first, in the sealed
component, at every message of the file: no pickle, no operators but the standard's, no functions and no training
graph, no data outside of the file, tensors that hold exactly what they promise, the card's input and outputs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from veilbox.core.errors import ImageError
from veilbox.vision.detect.card import Input, ModelCard
from veilbox.vision.detect.onnx_schema import SCHEMA
from veilbox.vision.detect.wire import Reader, Tree

# The largest detectors of the field have some 150 MB; a detector's memory is 1.5 GiB, and the weights are in it twice.
MAX_MODEL_BYTES = 256 << 20

# ONNX IR specification, "Operator Sets": the standard's own domain has two spellings.
_DOMAINS = frozenset({"", "ai.onnx"})

# TensorProto.DataType -> bytes of an element, for those that detectors have; 8 is text, whose size is its own.
_TEXT = 8
_SIZES: Mapping[int, int] = MappingProxyType(
    {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, _TEXT: 0, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
)
_DTYPES: Mapping[str, int] = MappingProxyType({"float32": 1, "uint8": 2})

# More axes than any standard operator's tensors have.
_MAX_DIMS = 16

# Archives of PyTorch are zip files; older ones, and scikit-learn's, begin with pickle's opcode PROTO.
_PICKLES = (b"PK\x03\x04", b"\x80")


def check_structure(model: bytes, card: ModelCard) -> None:
    """Refuse what must not be loaded.

    Args:
        model: The bytes of `model.onnx`.
        card: Its card.

    Raises:
        ImageError: It is no ONNX model, has something that no model here may have, or is another than the card's.
    """
    if model.startswith(_PICKLES):
        raise ImageError(
            "a pickle or an archive of one, which runs code when it is loaded",
            where="model.onnx",
            expected="an ONNX file",
            advice="Export the model with torch.onnx.export",
        )
    if len(model) > MAX_MODEL_BYTES:
        raise ImageError(
            "model is too large",
            where="model.onnx",
            expected=f"at most {MAX_MODEL_BYTES} bytes",
            actual=str(len(model)),
        )
    tree = Reader(SCHEMA).read(memoryview(model), "ModelProto")
    for fault in _model_faults(tree):
        raise ImageError("ONNX model that must not be loaded", where="model.onnx", actual=fault)
    for fault in _card_faults(tree, card):
        raise ImageError("the model and its card disagree", where="card.json", actual=fault)


def _model_faults(model: Tree) -> Iterator[str]:
    if "functions" in model.fields:
        yield "functions of its own"
    if "training_info" in model.fields:
        yield "a training graph"
    imported = [one.text("domain") for one in model.trees("opset_import")]
    yield from (f"operators of {name}" for name in imported if name not in _DOMAINS)
    if not imported or len(set(imported)) != len(imported):
        yield "operator sets that are not imported once"
    if "graph" not in model.fields:
        yield "no graph"
    for graph in model.trees("graph"):
        yield from _graph_faults(graph)


def _graph_faults(graph: Tree) -> Iterator[str]:
    for tensor in graph.trees("initializer"):
        yield from _tensor_faults(tensor)
    for sparse in graph.trees("sparse_initializer"):
        yield from _sparse_faults(sparse)
    for node in graph.trees("node"):
        if node.text("domain") not in _DOMAINS:
            yield f"operator {node.text('op_type')} of {node.text('domain')}"
        if not node.text("op_type") or node.text("overload"):
            yield "a node that is no standard operator"
        for attribute in node.trees("attribute"):
            yield from _attribute_faults(attribute)


def _attribute_faults(attribute: Tree) -> Iterator[str]:
    if attribute.text("ref_attr_name"):
        yield "an attribute of a function"
    for name in ("t", "tensors"):
        for tensor in attribute.trees(name):
            yield from _tensor_faults(tensor)
    for name in ("sparse_tensor", "sparse_tensors"):
        for sparse in attribute.trees(name):
            yield from _sparse_faults(sparse)
    for name in ("g", "graphs"):
        for graph in attribute.trees(name):
            yield from _graph_faults(graph)


def _sparse_faults(sparse: Tree) -> Iterator[str]:
    for name in ("values", "indices"):
        for tensor in sparse.trees(name):
            yield from _tensor_faults(tensor)


def _tensor_faults(tensor: Tree) -> Iterator[str]:
    name = tensor.text("name") or "a tensor"
    if tensor.number("data_location") or "external_data" in tensor.fields:
        yield f"data of {name} outside of the file"
    if "segment" in tensor.fields:
        yield f"{name} in pieces"
    size = _SIZES.get(tensor.number("data_type"))
    if size is None:
        yield f"{name} of data type {tensor.number('data_type')}"
        return
    dims = list(itertools.islice(tensor.numbers("dims"), _MAX_DIMS + 1))
    if len(dims) > _MAX_DIMS or any(dim < 0 for dim in dims):
        yield f"{name} of a shape that no tensor has"
    raw, wanted = tensor.length("raw_data"), math.prod(dims) * size
    if raw is not None and raw != wanted:
        yield f"{name} with {raw} bytes instead of {wanted}"


def _card_faults(model: Tree, card: ModelCard) -> Iterator[str]:
    for graph in model.trees("graph"):
        weights = {one.text("name") for one in graph.trees("initializer")}
        inputs = [one for one in graph.trees("input") if one.text("name") not in weights]
        names = [one.text("name") for one in inputs]
        if names != [card.input.name]:
            yield f"inputs {', '.join(names) or 'none'} where the card says {card.input.name}"
        else:
            yield from _input_faults(inputs[0], card.input)
        outputs = {one.text("name") for one in graph.trees("output")}
        missing = [name for name in card.outputs if name not in outputs]
        if missing:
            yield f"no output {', '.join(missing)}, which the card names"


def _input_faults(value: Tree, spec: Input) -> Iterator[str]:
    tensor = next((inner for kind in value.trees("type") for inner in kind.trees("tensor_type")), None)
    if tensor is None or tensor.number("elem_type") != _DTYPES[spec.dtype]:
        yield f"an input that is not {spec.dtype}, as the card says"
        return
    for shape in tensor.trees("shape"):
        dims = [one.number("dim_value") if "dim_value" in one.fields else None for one in shape.trees("dim")]
        channels = 3 if spec.layout == "nhwc" else 1
        if len(dims) != 4 or dims[0] not in {None, 1} or dims[channels] not in {None, 3}:
            yield f"an input of shape {dims}, which is not the card's {spec.layout} of one picture"
