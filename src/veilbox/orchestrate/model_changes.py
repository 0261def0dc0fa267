"""What people do with models on this machine: take one in, use one, go back, look at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, VeilboxError
from veilbox.oci.admit import Trust, admit
from veilbox.oci.image.definition import image_names
from veilbox.oci.image.lease import lease, uncollected
from veilbox.oci.image.store import ImageStore
from veilbox.oci.models.admit import RunnableModel, admit_model
from veilbox.oci.models.artifact import ModelArtifact, make_artifact, model_name
from veilbox.oci.models.card import Card
from veilbox.oci.models.carried import CarriedModel, carried
from veilbox.oci.models.examine import examine_carried, examine_model
from veilbox.oci.models.shelf import ModelChoices, find, held, tag_of
from veilbox.oci.models.sign import sign_model
from veilbox.oci.trust.keys import PrivateKey
from veilbox.oci.trust.signature import LOCAL
from veilbox.orchestrate.model_trial import faults_of, try_model
from veilbox.orchestrate.plan import DETECT

# After the @ of a model: what the detector's image carries.
OF_IMAGE = "image"


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedModel:
    """A model that this machine has.

    Attributes:
        name: Its name.
        version: The artifact's digest; None for one that an image carries.
        image: The image that carries it; empty for an artifact.
        in_use: Whether jobs take it.
        artifact: It, if it is one.
        carried: Likewise.
    """

    name: str
    version: Digest | None
    image: str
    in_use: bool
    artifact: ModelArtifact | None = None
    carried: CarriedModel | None = None

    @property
    def card(self) -> Card:
        """Its card."""
        if self.artifact is not None:
            return self.artifact.card
        if self.carried is not None:
            return self.carried.card
        raise ImageError("a model without a card", where=self.name)


def add_model(
    store: ImageStore,
    weights: Path,
    card: Path,
    key: PrivateKey,
    *,
    name: str | None = None,
    prefix: str = LOCAL,
    use: bool = False,
) -> ModelArtifact:
    """Take a model into the store, after it was tried in a sealed detector, and sign it.

    Args:
        store: Where it goes.
        weights: The ONNX file.
        card: Its card.
        key: Whose word it is.
        name: Instead of the card's.
        prefix: It is signed as `PREFIX/model-NAME`.
        use: Whether jobs take it from now on, if the trust policy accepts it.

    Returns:
        It.

    Raises:
        UsageError: A file cannot be read.
        ImageError: The model or its card is not as it must be; it gets no name.
        MachineError: Nothing can be tried here.
    """
    store.prepare()
    with lease(store.root) as kept:
        with uncollected(store.root):
            artifact = make_artifact(store, weights, card, name=name)
            kept.add_found([artifact.digest, artifact.manifest.config.digest, artifact.layer.digest, artifact.diff_id])
            folder = artifact.unpack(store)
        try_model(store, RunnableModel.of(artifact, folder, None))
        reference = f"{prefix}/{model_name(artifact.card.name)}"
        sign_model(store, artifact, key, reference=reference, now=datetime.now(UTC))
        store.layout.tag(tag_of(artifact.card.name, artifact.digest), artifact.descriptor)
    if use:
        admit_model(store, artifact.card.name, artifact.descriptor, trust=Trust.of(store))
        ModelChoices(store.root).choose(artifact.card.name, artifact.digest)
    return artifact


def use_model(store: ImageStore, text: str) -> tuple[str, Digest | None]:
    """Let the next job take a model, after it was admitted and tried.

    Args:
        store: Where it is.
        text: `NAME@DIGEST`, `NAME` for the only one, or `NAME@image` for what the detector's image carries.

    Returns:
        Its name and version; None for the image's.

    Raises:
        UsageError: It is not here.
        ImageError: It is refused; what was in use stays so.
    """
    name, _, wanted = text.partition("@")
    if wanted == OF_IMAGE:
        ModelChoices(store.root).choose(name, None)
        return name, None
    name, descriptor = find(store, text)
    admitted = admit_model(store, name, descriptor, trust=Trust.of(store))
    try_model(store, admitted)
    ModelChoices(store.root).choose(name, admitted.manifest)
    return name, admitted.manifest


def roll_back(store: ImageStore, name: str) -> Digest | None:
    """Let what was in use before be in use again; it was tried when it came into use.

    Returns:
        Its version; None for what the detector's image carries.

    Raises:
        UsageError: Nothing was in use before.
        ImageError: That is not here any more or refused now; what is in use stays so.
    """
    choices = ModelChoices(store.root)
    before = choices.before(name)
    if before is not None:
        _, descriptor = find(store, f"{name}@{before}")
        admit_model(store, name, descriptor, trust=Trust.of(store))
    choices.roll_back(name)
    return before


def listed_models(store: ImageStore) -> tuple[ListedModel, ...]:
    """Every model of this machine: those that images carry, then the artifacts.

    Raises:
        ImageError: An image is refused, or a model is damaged.
    """
    choices = ModelChoices(store.root)
    trust = Trust.of(store)
    found: list[ListedModel] = []
    for image in image_names():
        model = carried(admit(store, image, trust=trust))
        if model is not None:
            # What else carries a model, verify, runs its own whatever is chosen for the detector.
            used = image != f"{DETECT}{model.card.name}" or choices.current(model.card.name) is None
            found.append(ListedModel(name=model.card.name, version=None, image=image, in_use=used, carried=model))
    for (name, version), descriptor in held(store).items():
        artifact = ModelArtifact.of(store, descriptor)
        used = choices.current(name) == version
        found.append(ListedModel(name=name, version=version, image="", in_use=used, artifact=artifact))
    return tuple(found)


def verify_models(store: ImageStore, wanted: tuple[ListedModel, ...]) -> tuple[VeilboxError | None, ...]:
    """Hold models to the trust policy and their digests, then try those that hold in sealed detectors.

    Args:
        store: Where they are.
        wanted: Which.

    Returns:
        What is wrong with each, in their order.

    Raises:
        MachineError: Nothing can be tried here.
    """
    trust = Trust.of(store)
    faults: list[VeilboxError | None] = []
    trials: dict[str, RunnableModel | None] = {}
    places: dict[str, int] = {}
    for place, model in enumerate(wanted):
        component = model.image if model.image.startswith(DETECT) else f"{DETECT}trial-{place}"
        try:
            trial = _examined(store, model, trust)
        except ImageError as error:
            faults.append(error)
            continue
        faults.append(None)
        if trial is not None or model.image.startswith(DETECT):
            trials[component], places[component] = trial, place
    for component, fault in faults_of(store, trials).items() if trials else ():
        faults[places[component]] = fault
    return tuple(faults)


def _examined(store: ImageStore, model: ListedModel, trust: Trust) -> RunnableModel | None:
    if model.carried is not None:
        examine_carried(model.carried, trust)
        return None
    return None if model.artifact is None else examine_model(store, model.name, model.artifact.descriptor, trust)
