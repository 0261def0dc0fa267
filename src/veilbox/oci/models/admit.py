"""The one door for models: as for images, numbered clauses of the trust policy, stopping at the first fault.

What a model must be inside (ONNX, whole, by itself) is looked at where its bytes may be read: in the detector's sealed
container, each time before they are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.admit import Trust
from veilbox.oci.image.lease import Lease
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.image.store import ImageStore
from veilbox.oci.models.artifact import ModelArtifact, model_name
from veilbox.oci.models.shelf import tag_of
from veilbox.oci.trust.evidence import read_evidence
from veilbox.oci.trust.policy import TrustPolicy
from veilbox.oci.trust.verify import Admission, Clause, check_signatures, clause

# What is asked of a model: those of an image that have a meaning for one.
_CLAUSES = (
    Clause.NAME,
    Clause.RULE,
    Clause.REVOCATION,
    Clause.SIGNATURE,
    Clause.AGE,
    Clause.CONFIGURATION,
    Clause.LAYERS,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunnableModel:
    """A model that may take the place of the one in a detector's image.

    Attributes:
        name: Its name.
        manifest: The artifact's digest, which is its version.
        weights: The digest of `model.onnx`.
        classes: What it finds, by its card.
        diff_id: Its layer's digest.
        folder: Its layer, unpacked.
        admission: Who vouches for it, by which policy; None while it is only tried.
    """

    name: str
    manifest: Digest
    weights: Digest
    classes: tuple[str, ...]
    diff_id: Digest
    folder: Path
    admission: Admission | None

    @classmethod
    def of(cls, artifact: ModelArtifact, folder: Path, admission: Admission | None) -> RunnableModel:
        """A model whose layer stands in a folder."""
        return cls(
            name=artifact.card.name,
            manifest=artifact.digest,
            weights=artifact.card.weights,
            classes=artifact.card.classes,
            diff_id=artifact.diff_id,
            folder=folder,
            admission=admission,
        )


def admit_model(store: ImageStore, name: str, descriptor: Descriptor, *, trust: Trust) -> RunnableModel:
    """Admit a version of a model, or say which clause refused it.

    Args:
        store: Where it is.
        name: The model.
        descriptor: The version.
        trust: What is accepted.

    Raises:
        ImageError: A clause refuses it.
    """
    artifact, admission = judge_model(store, name, descriptor, trust=trust)
    with clause(Clause.LAYERS, model_name(name)):
        folder = store.layer(artifact.diff_id)
        if not folder.is_dir():
            raise ImageError("layer is not unpacked", expected=str(folder), advice="Add or pull the model again")
        artifact.check(folder)
    return RunnableModel.of(artifact, folder, admission)


def judge_model(
    store: ImageStore, name: str, descriptor: Descriptor, *, trust: Trust
) -> tuple[ModelArtifact, Admission]:
    """The clauses that need nothing but a model's small parts.

    Raises:
        ImageError: A clause refuses it.
    """
    shown = model_name(name)
    # 1. The bytes are what their digest says, they are a model, and this one.
    with clause(Clause.NAME, shown):
        artifact = ModelArtifact.of(store, descriptor)
        if artifact.card.name != name:
            raise ImageError("it is another model", expected=name, actual=artifact.card.name)
        subjects = frozenset({artifact.digest})
        evidence = read_evidence(store.layout, store.layout.index(), subjects)
    # 2. to 5. A rule covers it, nobody took it back, enough keys signed it, and lately enough.
    keys = check_signatures(shown, artifact.manifest, subjects, evidence, trust.policy, trust.now)
    require_pinned(trust.policy, name, artifact.card.weights, version=artifact.digest)
    held = tuple(one.value for one in _CLAUSES)
    identities = tuple(key.public.key_id for key in keys)
    return artifact, Admission(keys=identities, policy=trust.policy.digest, version=artifact.digest.text, clauses=held)


def require_pinned(policy: TrustPolicy, name: str, weights: Digest, *, version: Digest | None = None) -> None:
    """Hold a model, also one that an image carries, to what the policy says of models.

    Args:
        policy: What this machine accepts.
        name: The model.
        weights: The digest of its weights.
        version: Of the artifact, if it is one.

    Raises:
        ImageError: It is pinned to others, or its weights are revoked.
    """
    shown, own = model_name(name), {weights} | ({version} if version else set())
    with clause(Clause.RULE, shown):
        pinned = policy.models.get(name)
        if pinned is not None and not own & pinned:
            raise ImageError(
                "the trust policy pins another",
                expected=" or ".join(sorted(map(str, pinned))),
                actual=str(version or weights),
                advice="Choose a pinned one with `veilbox model use`, or change [models] in the trust policy",
            )
    with clause(Clause.REVOCATION, shown):
        if own & policy.revoked_digests:
            raise ImageError("it is revoked", actual=str(weights), advice="Choose another with `veilbox model use`")


def settle_model(
    store: ImageStore, descriptor: Descriptor, held: Lease, *, trust: Trust, tag: str | None = None
) -> RunnableModel:
    """Judge and unpack a model that is in the store without a name, then give it its own.

    Args:
        store: The store.
        descriptor: The model.
        held: Keeps its layer until it has a name.
        trust: What is accepted.
        tag: The name that somebody gave it; it must be its own.

    Raises:
        ImageError: A clause refuses it, or its layer is not what it must be; it gets no name.
    """
    found = ModelArtifact.of(store, descriptor)
    name, own = found.card.name, tag_of(found.card.name, found.digest)
    if tag not in {None, own}:
        raise ImageError("a model stands under another's name", where=str(tag), actual=own)
    artifact, admission = judge_model(store, name, descriptor, trust=trust)
    held.add([artifact.diff_id])
    with clause(Clause.LAYERS, model_name(name)):
        folder = artifact.unpack(store)
    store.layout.tag(own, descriptor)
    return RunnableModel.of(artifact, folder, admission)
