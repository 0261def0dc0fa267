"""What a model file must not be is refused before a runtime sees it, whatever bytes it has."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, onnx_ml_pb2

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.vision.detect import Input, ModelCard
from veilbox.vision.detect import structure as structure_module
from veilbox.vision.detect.onnx_schema import SCHEMA
from veilbox.vision.detect.structure import check_structure
from veilbox.vision.detect.wire import Scalar

CARD = ModelCard(
    name="toy",
    classes=("face",),
    licence="MIT",
    source="made here",
    digest=Digest.of(b""),
    input=Input(name="x", layout="nhwc", dtype="float32", colour="rgb"),
    outputs=("y",),
    stride=32,
    decoding="points",
    threshold=0.2,
    floor=0.1,
    nms_iou=0.3,
)


def toy() -> ModelProto:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], b"\0\0\0\x40", raw=True)
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64, "columns", 3]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def external(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def hidden_in_a_branch(model: ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Evil", [], ["z"], domain="com.example")], "i", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["q"], then_branch=inner, else_branch=inner))


def constant_outside(model: ModelProto) -> None:
    tensor = helper.make_tensor("c", TensorProto.FLOAT, [1], [0.0])
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.node.append(helper.make_node("Constant", [], ["k"], value=tensor))


def sparse_outside(model: ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.data_type = TensorProto.FLOAT
    sparse.values.external_data.add(key="location", value="x")


def nested(model: ModelProto) -> None:
    graph = helper.make_graph([], "inner", [], [])
    for _ in range(12):
        graph = helper.make_graph([helper.make_node("Loop", [], [], body=graph)], "outer", [], [])
    model.graph.node.append(helper.make_node("Loop", [], [], body=graph))


FAULTS: dict[str, tuple[Callable[[ModelProto], object], str]] = {
    "data outside": (external, "data of w outside of the file"),
    "a constant outside": (constant_outside, "data of c outside of the file"),
    "sparse data outside": (sparse_outside, "outside of the file"),
    "a custom operator": (lambda model: setattr(model.graph.node[0], "domain", "com.example"), "com.example"),
    "a custom operator in a branch": (hidden_in_a_branch, "operator Evil of com.example"),
    "custom operators imported": (
        lambda model: model.opset_import.append(helper.make_opsetid("com.microsoft", 1)),
        "operators of com.microsoft",
    ),
    "no operators imported": (lambda model: model.ClearField("opset_import"), "imported once"),
    "operators imported twice": (lambda model: model.opset_import.append(helper.make_opsetid("", 14)), "imported once"),
    "a nameless operator": (lambda model: setattr(model.graph.node[0], "op_type", ""), "no standard operator"),
    "an overload": (lambda model: setattr(model.graph.node[0], "overload", "o"), "no standard operator"),
    "functions": (lambda model: model.functions.add(), "functions"),
    "a function's attribute": (
        lambda model: model.graph.node[0].attribute.add(name="a", ref_attr_name="b"),
        "attribute of a function",
    ),
    "training": (lambda model: model.training_info.add(), "training"),
    "devices": (lambda model: model.configuration.add(), "unknown field"),
    "a sequence": (
        lambda model: model.graph.value_info.add(name="s").type.sequence_type.elem_type.tensor_type.SetInParent(),
        "unknown field",
    ),
    "graphs within graphs": (nested, "messages within messages"),
    "no graph": (lambda model: model.ClearField("graph"), "no graph"),
    "fewer bytes than its shape": (lambda model: model.graph.initializer[0].dims.append(2), "4 bytes instead of 8"),
    "a negative size": (lambda model: model.graph.initializer[0].dims.append(-1), "a shape that no tensor has"),
    "too many axes": (lambda model: model.graph.initializer[0].dims.extend([1] * 40), "a shape that no tensor has"),
    "an unknown type of data": (lambda model: setattr(model.graph.initializer[0], "data_type", 77), "data type 77"),
    "in pieces": (lambda model: setattr(model.graph.initializer[0].segment, "begin", 1), "in pieces"),
}


def refused(raw: bytes, words: str, card: ModelCard = CARD) -> None:
    with pytest.raises(ImageError, match=words):
        check_structure(raw, card)


def test_a_plain_model_is_accepted() -> None:
    check_structure(toy().SerializeToString(), CARD)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_must_not_be_loaded(fault: str) -> None:
    model = toy()
    change, words = FAULTS[fault]
    change(model)
    refused(model.SerializeToString(), words)


def torch_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    return buffer.getvalue()


NOT_ONNX: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "imported once"),
    "a pickle": (pickle.dumps({"a": 1}), "a pickle"),
    "an archive of pickles": (torch_archive(), "a pickle"),
    "noise": (b"\xff" * 50, "64 bits"),
    "text": (b"no model", "not an ONNX model"),
    "a number that is too large": (b"\x08" + b"\xff" * 9 + b"\x7f", "64 bits"),
    "a graph twice": (toy().SerializeToString() * 2, "twice"),
    "a graph as a number": (b"\x38\x01", "another type"),
    "a length beyond the end": (b"\x3a\x7f", "truncated"),
}


@pytest.mark.parametrize("kind", NOT_ONNX)
def test_what_is_no_model(kind: str) -> None:
    refused(*NOT_ONNX[kind])


@given(st.data())
def test_a_truncated_model_is_refused(data: st.DataObject) -> None:
    whole = toy().SerializeToString()
    cut = data.draw(st.integers(0, len(whole) - 1))
    refused(whole[:cut], ".")


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_give_an_answer_or_our_error(noise: bytes, at: int) -> None:
    whole = toy().SerializeToString()
    for raw in (noise, whole[:at] + noise + whole[at + len(noise) :]):
        try:
            check_structure(raw, CARD)
        except ImageError:
            continue


CARDS: dict[str, tuple[dict[str, Any], str]] = {
    "another input": ({"input": replace(CARD.input, name="picture")}, "inputs x where the card says picture"),
    "another output": ({"outputs": ("y", "z")}, "no output z"),
    "another type": ({"input": replace(CARD.input, dtype="uint8")}, "not uint8"),
    "another order": ({"input": replace(CARD.input, layout="nchw")}, "nchw"),
}


@pytest.mark.parametrize("what", CARDS)
def test_a_card_of_another_model(what: str) -> None:
    change, words = CARDS[what]
    refused(toy().SerializeToString(), words, replace(CARD, **change))


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = toy().SerializeToString()
    with monkeypatch.context() as patch:
        patch.setattr(structure_module, "MAX_MODEL_BYTES", len(raw) - 1)
        refused(raw, "too large")
    with monkeypatch.context() as patch:
        patch.setattr("veilbox.vision.detect.wire._MAX_FIELDS", 5)
        refused(raw, "too many fields")


def test_the_table_is_onnx_s_own() -> None:
    """Every field that we know has the number, the kind and the multiplicity that onnx gives it."""
    known = dict(onnx_ml_pb2.DESCRIPTOR.message_types_by_name)
    known |= {"Tensor": known["TypeProto"].nested_types_by_name["Tensor"]}
    known |= {"Dimension": known["TensorShapeProto"].nested_types_by_name["Dimension"]}
    integers = {3, 4, 5, 13, 14}  # int64, uint64, int32, uint32, enum
    kinds = {1: Scalar.DOUBLE, 2: Scalar.FLOAT, 9: Scalar.TEXT, 12: Scalar.TEXT, **dict.fromkeys(integers, Scalar.INT)}
    opaque = {"training_info", "functions", "segment"}
    for name, table in SCHEMA.items():
        fields = known[name].fields_by_number
        for number, field in table.items():
            theirs = fields[number]
            assert theirs.name == field.name
            many = theirs.is_repeated if hasattr(theirs, "is_repeated") else theirs.label == theirs.LABEL_REPEATED
            assert bool(many) == field.many, field.name
            if field.name not in opaque:
                expected = theirs.message_type.name if theirs.message_type else kinds[theirs.type]
                assert field.kind == expected, field.name


def test_onnx_and_we_agree_on_a_model_with_everything_that_may_be() -> None:
    model = toy()
    model.doc_string = "words"
    model.metadata_props.add(key="k", value="v")
    model.graph.node.append(helper.make_node("Conv", ["x"], ["c"], kernel_shape=[3, 3], alpha=0.5, names=["a", "b"]))
    model.graph.initializer.append(helper.make_tensor("d", TensorProto.DOUBLE, [2], [1.0, 2.0]))
    model.graph.initializer.append(helper.make_tensor("i", TensorProto.INT64, [2], [1, -2]))
    model.graph.initializer.append(helper.make_tensor("h", TensorProto.FLOAT16, [2], [1.0, 2.0]))
    model.graph.initializer.add(name="s", dims=[1], data_type=TensorProto.STRING, string_data=[b"text"])
    assert onnx.load_model_from_string(model.SerializeToString()) == model
    check_structure(model.SerializeToString(), CARD)
