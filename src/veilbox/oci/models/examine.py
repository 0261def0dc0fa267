"""Look at a model more closely than a job has time for: its blob and its unpacked weights, byte by byte."""

from __future__ import annotations

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.admit import Trust
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.image.store import ImageStore
from veilbox.oci.models.admit import RunnableModel, admit_model, require_pinned
from veilbox.oci.models.artifact import ModelArtifact, model_name
from veilbox.oci.models.carried import CarriedModel


def examine_model(store: ImageStore, name: str, descriptor: Descriptor, trust: Trust) -> RunnableModel:
    """Hold a version of a model to every clause, and read all of it.

    Raises:
        ImageError: It is refused, or something of it is damaged.
    """
    admitted = admit_model(store, name, descriptor, trust=trust)
    artifact = ModelArtifact.of(store, descriptor)
    with store.layout.open(artifact.layer) as reader:
        reader.drain()
    artifact.unpack(store)
    return admitted


def examine_carried(model: CarriedModel, trust: Trust) -> None:
    """Hold the weights in an image to the digest that the image's signed configuration names.

    Raises:
        ImageError: They are others, or refused by the policy.
    """
    require_pinned(trust.policy, model.card.name, model.stated)
    actual = Digest.of(model.file.read_bytes())
    if actual != model.stated:
        raise ImageError(
            "model is not what its image says",
            where=model_name(model.card.name),
            expected=str(model.stated),
            actual=str(actual),
            advice="Build the image again",
        )
