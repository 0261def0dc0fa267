from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper
from trust_shop import NAME, shop

from veilbox.cli.main import main
from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci import models as models_module
from veilbox.oci.models import Model, check_structure, models, verify_model


def small_model() -> ModelProto:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [2.0])
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def external(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def hidden_in_a_branch(model: ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Evil", [], ["z"], domain="com.example")], "i", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["q"], then_branch=inner, else_branch=inner))


def constant_outside(model: ModelProto) -> None:
    tensor = helper.make_tensor("c", TensorProto.FLOAT, [1], [0.0])
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.node.append(helper.make_node("Constant", [], ["k"], value=tensor))


FAULTS: dict[str, tuple[Callable[[ModelProto], object], str]] = {
    "data outside": (external, "outside of the file"),
    "a constant outside": (constant_outside, "outside of the file"),
    "a custom operator": (lambda model: setattr(model.graph.node[0], "domain", "com.example"), "com.example"),
    "a custom operator in a branch": (hidden_in_a_branch, "operator Evil"),
    "custom operators imported": (
        lambda model: model.opset_import.append(helper.make_opsetid("com.microsoft", 1)),
        "operators of com.microsoft",
    ),
    "functions": (lambda model: model.functions.add(), "functions"),
    "training": (lambda model: model.training_info.add(), "training"),
    "an unknown operator": (lambda model: setattr(model.graph.node[0], "op_type", "Mull"), "Mull"),
}


def test_a_plain_model_is_accepted() -> None:
    check_structure(small_model().SerializeToString(), where="m")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_must_not_be_loaded(fault: str) -> None:
    model = small_model()
    change, words = FAULTS[fault]
    change(model)
    with pytest.raises(ImageError, match=words):
        check_structure(model.SerializeToString(), where="m")


@pytest.mark.parametrize("raw", [b"", b"\x80\x04K\x01.", b"\xff" * 50], ids=["empty", "a pickle", "noise"])
def test_what_is_no_model(raw: bytes) -> None:
    with pytest.raises(ImageError):
        check_structure(raw, where="m")


def a_model(folder: Path, weights: bytes) -> Model:
    (folder / "model.onnx").write_bytes(weights)
    return Model(
        name="m",
        image="i",
        classes=("face",),
        licence="MIT",
        source="",
        digest=Digest.of(weights),
        file=folder / "model.onnx",
    )


def test_weights_are_held_to_card_and_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_model(tmp_path, small_model().SerializeToString())
    verify_model(model, model.digest)
    with pytest.raises(ImageError, match="its image says"):
        verify_model(model, Digest.of(b"other"))
    model.file.write_bytes(model.file.read_bytes() + b"\0")
    with pytest.raises(ImageError, match="its card says"):
        verify_model(model, model.digest)
    monkeypatch.setattr(models_module, "MAX_MODEL_BYTES", 3)
    with pytest.raises(ImageError, match="too large"):
        verify_model(model, model.digest)


def test_models_of_images_are_listed_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = small_model().SerializeToString()
    made = shop(tmp_path, attested=False)
    folder = made.store.layer(made.layers[0].diff_id) / "models" / "finder"
    card = {"name": "finder", "classes": ["face"], "licence": "MIT", "digest": Digest.of(weights).text}
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "model.onnx").write_bytes(weights)
    made.image(**{"io.veilbox.model": Digest.of(weights).text})
    made.sign()
    made.policy()
    monkeypatch.setenv("VEILBOX_HOME", str(made.store.root))
    monkeypatch.setattr("veilbox.oci.image.definition.image_names", lambda: (NAME,))
    assert [model.licence for model in models(made.store, (NAME,))] == ["MIT"]
    assert main(["model", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["digest"] == Digest.of(weights).text
    assert main(["model", "verify"]) == 0
    assert main(["model", "verify", "nobody"]) == 2
    (folder / "model.onnx").write_bytes(weights[:-1])
    assert main(["model", "verify", "finder", "--json"]) == 6
