"""The one door from an image's name to folders that may be run.

Numbered clauses, stopping at the first fault. What is large was verified when it was unpacked and stands under its
digest since; what is small is verified here, every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.definition import recipe
from veilbox.oci.image.spec import MODEL_LABEL, RECIPE_LABEL, Descriptor, ImageConfig, Manifest
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.wire import parse_config, parse_manifest

_ADVICE = "Build it with `veilbox image build`"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunnableImage:
    """An image that was admitted.

    Attributes:
        name: The name that was asked for.
        manifest: The digest of its manifest.
        layers: Unpacked layers, bottom first (overlayfs wants them top first).
        entrypoint: Program and first arguments inside.
        env: `NAME=value`.
        user: User and group ids inside.
        model: The digest of the model file that it carries.
    """

    name: str
    manifest: Digest
    layers: tuple[Path, ...]
    entrypoint: tuple[str, ...]
    env: tuple[str, ...]
    user: tuple[int, int]
    model: Digest | None


def admit(store: ImageStore, name: str) -> RunnableImage:
    """Admit an image, or say which clause refused it.

    Args:
        store: Where images are on this machine.
        name: An image's name, `detect-centerface`.

    Raises:
        ImageError: It is missing, stale, incomplete or not what its digests say.
        UsageError: veilbox has no image of that name.
    """
    # 1. The name stands for one manifest, whose bytes are what the index says.
    manifest = parse_manifest(store.layout.read(_named(store, name)))
    # 2. The configuration's bytes are what the manifest says.
    config = parse_config(store.layout.read(manifest.config))
    # 3. It was made from the declarations and the code of this very veilbox.
    _fresh(name, config)
    # 4. Manifest and configuration speak of the same layers, and each was verified and unpacked to its end.
    layers = _unpacked(store, name, manifest, config)
    # 5. It runs as nobody in particular.
    _unprivileged(name, config)
    model = config.labels.get(MODEL_LABEL)
    return RunnableImage(
        name=name,
        manifest=manifest.digest,
        layers=layers,
        entrypoint=config.entrypoint,
        env=config.env,
        user=config.user,
        model=None if model is None else Digest(model),
    )


def _named(store: ImageStore, name: str) -> Descriptor:
    descriptor = store.layout.resolve(name)
    if descriptor is None:
        raise ImageError("image is missing", where=name, expected=f"it in {store.layout.root}", advice=_ADVICE)
    return descriptor


def _fresh(name: str, config: ImageConfig) -> None:
    expected, actual = recipe(name).text, config.labels.get(RECIPE_LABEL, "none")
    if actual != expected:
        raise ImageError(
            "image is stale: it was built from another veilbox",
            where=name,
            expected=f"recipe {expected}",
            actual=actual,
            advice=_ADVICE,
        )


def _unpacked(store: ImageStore, name: str, manifest: Manifest, config: ImageConfig) -> tuple[Path, ...]:
    if not config.diff_ids or len(config.diff_ids) != len(manifest.layers):
        raise ImageError(
            "configuration and manifest have different layers",
            where=name,
            expected=f"{len(manifest.layers)} or more than none",
            actual=str(len(config.diff_ids)),
            advice=_ADVICE,
        )
    folders = tuple(store.layer(diff_id) for diff_id in config.diff_ids)
    for folder in folders:
        if not folder.is_dir():  # the name exists from the moment on when all of it does
            raise ImageError("layer is not unpacked", where=name, expected=str(folder), advice=_ADVICE)
    return folders


def _unprivileged(name: str, config: ImageConfig) -> None:
    if 0 in config.user:
        raise ImageError("image wants to run as root", where=name, expected="65532:65532", actual=str(config.user))
