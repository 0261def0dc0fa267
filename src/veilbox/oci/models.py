"""The models in this machine's images: their cards, and whether the weights are what cards and images say they are.

Weights are ONNX, never pickles. Structure is checked before any runtime loads it: nothing outside of the file, no
operators but the standard's, no functions of the file's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.admit import RunnableImage, Trust, admit
from veilbox.oci.image.store import ImageStore

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

# The largest detectors in the field have some 150 MB; protobuf itself ends at 2 GiB.
MAX_MODEL_BYTES = 1 << 30

# ONNX IR specification, "Operator Sets": the standard's own domain has two spellings.
_DOMAINS = frozenset({"", "ai.onnx"})


class _Card(msgspec.Struct, frozen=True):
    name: str
    classes: tuple[str, ...]
    licence: str
    digest: str
    source: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model in an image.

    Attributes:
        name: By its card.
        image: The image that carries it.
        classes: What it finds.
        licence: Of the weights.
        source: Where they are from, in the card's words.
        digest: Of `model.onnx`.
        file: Where that is on this machine.
    """

    name: str
    image: str
    classes: tuple[str, ...]
    licence: str
    source: str
    digest: Digest
    file: Path


def models(store: ImageStore, images: tuple[str, ...]) -> tuple[Model, ...]:
    """The models of images that may run.

    Args:
        store: Where the images are.
        images: Their names.

    Raises:
        ImageError: An image is refused, or a card is unreadable.
    """
    trust = Trust.of(store)
    admitted = (admit(store, name, trust=trust) for name in images)
    return tuple(model for image in admitted if image.model is not None for model in _carried(image))


def signed_digest(store: ImageStore, model: Model) -> Digest:
    """The digest of a model that its image's signed configuration names.

    Raises:
        ImageError: The image is refused, or names none.
    """
    named = admit(store, model.image, trust=Trust.of(store)).model
    if named is None:
        raise ImageError("image names no model", where=model.image)
    return named


def verify_model(model: Model, expected: Digest) -> None:
    """Hold a model to its digests and to the structure that may be loaded.

    Args:
        model: The model.
        expected: The digest that the image's signed configuration names.

    Raises:
        ImageError: Its bytes or its structure are not as they must be.
    """
    size = model.file.stat().st_size
    if size > MAX_MODEL_BYTES:
        raise ImageError(
            "model is too large", where=model.name, expected=f"at most {MAX_MODEL_BYTES}", actual=str(size)
        )
    weights = model.file.read_bytes()
    actual = Digest.of(weights)
    for whose, digest in (("its card", model.digest), ("its image", expected)):
        if digest != actual:
            raise ImageError(
                f"model is not what {whose} says", where=model.name, expected=str(digest), actual=str(actual)
            )
    check_structure(weights, where=model.name)


def check_structure(weights: bytes, *, where: str) -> None:
    """Refuse what a model must not have, before a runtime sees it.

    Raises:
        ImageError: It is no ONNX model, or has data outside of the file, operators beyond the standard's, functions or
            training graphs.
    """
    import onnx  # noqa: PLC0415 - half a second
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        model = onnx.load_model_from_string(weights)
        fault = next(_faults(model), None)
        if fault is None:
            onnx.checker.check_model(model, full_check=True)
    except (DecodeError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ImageError("not a valid ONNX model", where=where, actual=str(error)) from error
    if fault is not None:
        raise ImageError("ONNX model that must not be loaded", where=where, actual=fault)


def _faults(model: ModelProto) -> Iterator[str]:
    if model.functions:
        yield "functions of its own"
    if model.training_info:
        yield "a training graph"
    yield from (f"operators of {one.domain}" for one in model.opset_import if one.domain not in _DOMAINS)
    yield from _graph_faults(model.graph)


def _graph_faults(graph: GraphProto) -> Iterator[str]:
    tensors = [*graph.initializer, *(part for one in graph.sparse_initializer for part in (one.values, one.indices))]
    yield from _outside(tensors)
    for node in graph.node:
        if node.domain not in _DOMAINS:
            yield f"operator {node.op_type} of {node.domain}"
        yield from _attribute_faults(node)


def _attribute_faults(node: NodeProto) -> Iterator[str]:
    for attribute in node.attribute:
        sparse = [*attribute.sparse_tensors, attribute.sparse_tensor]
        parts = (part for one in sparse for part in (one.values, one.indices))
        yield from _outside([attribute.t, *attribute.tensors, *parts])
        for graph in (attribute.g, *attribute.graphs):
            yield from _graph_faults(graph)


def _outside(tensors: list[TensorProto]) -> Iterator[str]:
    from onnx import TensorProto  # noqa: PLC0415

    yield from (
        f"data of {one.name} outside of the file"
        for one in tensors
        if one.data_location == TensorProto.EXTERNAL or one.external_data
    )


def _carried(image: RunnableImage) -> Iterator[Model]:
    for layer in image.layers:
        for path in sorted((layer / "models").glob("*/card.json")):
            try:
                card = msgspec.json.decode(path.read_bytes(), type=_Card)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise ImageError("model card is unreadable", where=str(path), actual=str(error)) from error
            yield Model(
                name=card.name,
                image=image.name,
                classes=card.classes,
                licence=card.licence,
                source=card.source,
                digest=Digest(card.digest),
                file=path.with_name("model.onnx"),
            )
