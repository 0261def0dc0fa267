"""Sign a model as images are signed: under cosign's tag, so that `cosign verify --key` accepts it."""

from __future__ import annotations

from datetime import datetime

import veilbox
from veilbox.oci.image.lease import uncollected
from veilbox.oci.image.store import ImageStore
from veilbox.oci.models.artifact import ModelArtifact
from veilbox.oci.trust.evidence import add_signature
from veilbox.oci.trust.keys import PrivateKey
from veilbox.oci.trust.signature import SimpleSignature


def sign_model(store: ImageStore, model: ModelArtifact, key: PrivateKey, *, reference: str, now: datetime) -> None:
    """Put a key's signature beside a model; its card is part of what is signed.

    Args:
        store: Where it is.
        model: The model.
        key: Whose word it is.
        reference: The repository that is signed, without tag; its last part must be `model-NAME`.
        now: With a time zone.
    """
    with uncollected(store.root):
        creator = f"veilbox {veilbox.__version__}"
        signature = SimpleSignature.made(model.digest, reference, key, creator=creator, now=now)
        add_signature(store.layout, model.digest, signature, key.public)
