"""The one door from an image's name to folders that may be run.

Numbered clauses, stopping at the first fault. What is large was verified when it was unpacked and stands under its
digest since; what is small is verified here, every time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.definition import recipe
from veilbox.oci.image.spec import MODEL_LABEL, RECIPE_LABEL, REF_NAME, Descriptor, ImageConfig, Manifest
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.wire import parse_config, parse_manifest
from veilbox.oci.trust.evidence import read_evidence, subjects_of
from veilbox.oci.trust.policy import TrustPolicy
from veilbox.oci.trust.store import TrustStore
from veilbox.oci.trust.verify import Admission, Clause, Image, check_content, check_signatures, clause

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
        model_layer: Which of the layers that is in, if it has a layer of its own.
        admission: Who vouches for it, by which policy.
    """

    name: str
    manifest: Digest
    layers: tuple[Path, ...]
    entrypoint: tuple[str, ...]
    env: tuple[str, ...]
    user: tuple[int, int]
    model: Digest | None
    admission: Admission
    model_layer: Path | None = None


def admit(store: ImageStore, name: str, *, trust: Trust | None = None) -> RunnableImage:
    """Admit an image, or say which clause refused it.

    Args:
        store: Where images are on this machine.
        name: An image's name, `detect-centerface`.
        trust: What is accepted; by default what the store's policy says now.

    Raises:
        ImageError: A clause refuses it: it is missing, untrusted, stale, incomplete or not what its digests say.
        UsageError: veilbox has no image of that name, or the trust policy cannot be read.
    """
    trust = trust or Trust.of(store)
    # 1. The name stands for one manifest, whose bytes are what the index says.
    with clause(Clause.NAME, name):
        entries = store.layout.index()
        entry = _named(store, entries, name)
        manifest = parse_manifest(store.layout.read(entry))
        subjects = subjects_of(store.layout, entry)
        evidence = read_evidence(store.layout, entries, subjects)
    # 2. to 5. A rule covers it, nobody took it back, enough keys signed it, and lately enough.
    keys = check_signatures(name, manifest, subjects, evidence, trust.policy, trust.now)
    # 6. The configuration's bytes are what the manifest says.
    with clause(Clause.CONFIGURATION, name):
        config = parse_config(store.layout.read(manifest.config))
    # 7. to 10. Its base, its attestations, its packages and its version are as the rule wants them.
    image = Image(name=name, manifest=manifest, config=config, subjects=subjects)
    with clause(Clause.VERSION, name):
        seen = trust.store.seen(name)
    admission = check_content(image, evidence, keys, trust.policy, seen)
    # 11. It was made from the declarations and the code of this very veilbox.
    with clause(Clause.RECIPE, name):
        _fresh(name, config)
    # 12. Manifest and configuration speak of the same layers, and each was verified and unpacked to its end.
    with clause(Clause.LAYERS, name):
        layers = _unpacked(store, name, manifest, config)
    # 13. It runs as nobody in particular.
    with clause(Clause.USER, name):
        _unprivileged(name, config)
    if trust.remembers:
        trust.store.remember(name, admission.version)
    model = config.labels.get(MODEL_LABEL)
    return RunnableImage(
        name=name,
        manifest=manifest.digest,
        layers=layers,
        entrypoint=config.entrypoint,
        env=config.env,
        user=config.user,
        model=None if model is None else Digest(model),
        admission=replace(admission, clauses=tuple(one.value for one in Clause)),
        model_layer=_model_layer(manifest, layers),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """By what images are judged: read once for all images of a job.

    Attributes:
        store: Where versions are remembered.
        policy: What is accepted.
        now: With a time zone.
        remembers: Whether the versions that are admitted become the lowest that may follow.
    """

    store: TrustStore
    policy: TrustPolicy
    now: datetime
    remembers: bool = True

    @classmethod
    def of(cls, store: ImageStore) -> Trust:
        """What a store's policy says now.

        Raises:
            UsageError: The policy cannot be read.
        """
        trust = TrustStore(store.root / "trust")
        return cls(store=trust, policy=trust.policy(), now=datetime.now(UTC))


def _named(store: ImageStore, entries: tuple[Descriptor, ...], name: str) -> Descriptor:
    found = [one for one in entries if one.annotations.get(REF_NAME) == name]
    if not found:
        raise ImageError("image is missing", where=name, expected=f"it in {store.layout.root}", advice=_ADVICE)
    if len(found) > 1:
        raise ImageError("image name is ambiguous", where=name, actual=f"{len(found)} manifests", advice=_ADVICE)
    return found[0]


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


def _model_layer(manifest: Manifest, layers: tuple[Path, ...]) -> Path | None:
    found = [folder for layer, folder in zip(manifest.layers, layers, strict=True) if MODEL_LABEL in layer.annotations]
    return found[0] if len(found) == 1 else None


def _unprivileged(name: str, config: ImageConfig) -> None:
    if 0 in config.user:
        raise ImageError("image wants to run as root", where=name, expected="65532:65532", actual=str(config.user))
