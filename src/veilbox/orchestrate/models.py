"""Which models a job detects with, and how they come into their components: a layer in place of the image's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from veilbox.core.errors import ImageError, UsageError
from veilbox.core.policy import Policy
from veilbox.oci.admit import RunnableImage, Trust, admit
from veilbox.oci.image.definition import image_names
from veilbox.oci.image.spec import REF_NAME
from veilbox.oci.image.store import ImageStore
from veilbox.oci.models.admit import RunnableModel, admit_model, require_pinned
from veilbox.oci.models.artifact import model_name
from veilbox.oci.models.shelf import ModelChoices, find, tag_of
from veilbox.orchestrate.plan import DETECT, detectors

# By detect component; None runs the model that the component's image carries.
DetectModels = Mapping[str, RunnableModel | None]

# A model without an image of its own name runs in this one: detectors' images differ in their last layer only.
_HOST = f"{DETECT}centerface"


def chosen_models(store: ImageStore, policy: Policy, trust: Trust) -> DetectModels:
    """The detectors of a policy: the models that it asks for, and for what these do not find the built-in ones.

    A built-in one is the model of that name that is in use on this machine, or else what its image carries.

    Args:
        store: Where models are.
        policy: The job's.
        trust: By what they are judged.

    Raises:
        UsageError: A model is not here, finds nothing that is to be hidden, or nothing finds a class.
        ImageError: A model is refused.
    """
    asked = _asked(store, policy, trust)
    found = {kind for model in asked.values() for kind in model.classes}
    rest = tuple(kind for kind in policy.detection.classes if kind not in found)
    chosen: dict[str, RunnableModel | None] = {**asked}
    if rest or not asked:
        chosen |= {
            name: in_use(store, name.removeprefix(DETECT), trust)
            for name in detectors(_of_classes(policy, rest))
            if name not in asked
        }
    return chosen


def _asked(store: ImageStore, policy: Policy, trust: Trust) -> dict[str, RunnableModel]:
    asked: dict[str, RunnableModel] = {}
    for text in policy.detection.models:
        name, descriptor = find(store, text)
        model = admit_model(store, name, descriptor, trust=trust)
        if f"{DETECT}{name}" in asked:
            raise UsageError("a model is asked for twice", where="--model", actual=text)
        if not {*model.classes} & {*policy.detection.classes}:
            raise UsageError(
                "a model finds nothing of what is to be hidden",
                where=text,
                expected=f"--hide with one of {', '.join(model.classes)}",
                actual=", ".join(policy.detection.classes),
            )
        asked[f"{DETECT}{name}"] = model
    return asked


def _of_classes(policy: Policy, classes: tuple[str, ...]) -> Policy:
    return replace(policy, detection=replace(policy.detection, classes=classes))


def in_use(store: ImageStore, name: str, trust: Trust) -> RunnableModel | None:
    """The model of that name that was chosen on this machine, or None for what the image carries.

    Raises:
        ImageError: It is not here any more, or refused.
    """
    version = ModelChoices(store.root).current(name)
    if version is None:
        return None
    tag = tag_of(name, version)
    entry = next((one for one in store.layout.index() if one.annotations.get(REF_NAME) == tag), None)
    if entry is None:
        raise ImageError(
            "the model in use is not here any more",
            where=model_name(name),
            expected=tag,
            advice=f"Go back with `veilbox model rollback {name}`, or pull it again",
        )
    if entry.digest != version:
        raise ImageError("a model stands under another's name", where=tag, actual=entry.digest.text)
    return admit_model(store, name, entry, trust=trust)


def furnished(store: ImageStore, component: str, model: RunnableModel | None, trust: Trust) -> RunnableImage:
    """An admitted detector's image with the model that runs in it.

    Args:
        store: Where the image is.
        component: `detect-NAME`.
        model: In place of the image's own, or None.
        trust: By what the image is judged.

    Raises:
        ImageError: The image is refused, its own model is not as pinned, or it has no layer that could be replaced.
    """
    image = admit(store, component if component in image_names() else _HOST, trust=trust)
    if model is None:
        if image.model is not None:
            require_pinned(trust.policy, component.removeprefix(DETECT), image.model)
        return image
    if image.model_layer is None:
        raise ImageError(
            "image does not say which layer its model is in",
            where=image.name,
            advice="Build it with `veilbox image build`",
        )
    below = tuple(layer for layer in image.layers if layer != image.model_layer)
    return replace(image, name=component, layers=(*below, model.folder), model=model.weights, model_layer=model.folder)


def of_second_look(store: ImageStore, component: str, trust: Trust) -> RunnableImage:
    """An admitted detector's image for the second look: with its own model, whatever the first look runs.

    Args:
        store: Where the image is.
        component: `detect-NAME`.
        trust: By what it is judged. If it pins that model to others, or revokes it, the one in use runs.

    Raises:
        ImageError: As in `furnished`.
    """
    name, policy = component.removeprefix(DETECT), trust.policy
    image = admit(store, component, trust=trust)
    own = image.model
    if own in policy.revoked_digests or own not in policy.models.get(name, {own}):
        return furnished(store, component, in_use(store, name, trust), trust)
    return image
