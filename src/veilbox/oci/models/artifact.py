"""A model as an OCI artifact: its card as the configuration, one layer with both files, as a detector's image has it.

Source: OCI image-spec 1.1.1, manifest.md, "Guidelines for Artifact Usage". The file itself is foreign input: here its
bytes are hashed and packed, never looked into; that is for a sealed component.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, UsageError
from veilbox.oci.image.layer import pack
from veilbox.oci.image.spec import (
    DIFF_ID,
    LAYER_NAME,
    MANIFEST_TYPE,
    MODEL_CARD_TYPE,
    MODEL_LABEL,
    MODEL_TYPE,
    TITLE,
    Descriptor,
    Manifest,
)
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.unpack import Bounds, unpack_layer
from veilbox.oci.image.wire import artifact_bytes, parse_artifact
from veilbox.oci.models.card import MAX_CARD_BYTES, Card, completed_card, parse_card

# As the detector has it (vision.detect.structure): the largest detectors of the field have some 150 MB.
MAX_MODEL_BYTES = 256 << 20
# The two files and the two folders around them; a tar has half a kilobyte around each.
_BOUNDS = Bounds(entries=4, bytes=MAX_MODEL_BYTES + MAX_CARD_BYTES + (64 << 10), depth=3)

_LICENCES = "org.opencontainers.image.licenses"
WEIGHTS = "model.onnx"
CARD = "card.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelArtifact:
    """A model in a store.

    Attributes:
        descriptor: Of its manifest.
        manifest: It.
        card: What the machine must know of it.
        card_bytes: All of the card.
        layer: Its one layer.
        diff_id: The digest of the tar in that.
    """

    descriptor: Descriptor
    manifest: Manifest
    card: Card
    card_bytes: bytes
    layer: Descriptor
    diff_id: Digest

    @classmethod
    def of(cls, store: ImageStore, descriptor: Descriptor) -> ModelArtifact:
        """Read a model's small parts.

        Raises:
            ImageError: It is missing or damaged, or no model.
        """
        if descriptor.media_type != MANIFEST_TYPE:
            raise ImageError("not a model", where=descriptor.digest.text, expected=MODEL_TYPE)
        manifest = parse_artifact(store.layout.read(descriptor))
        if (manifest.artifact_type, manifest.config.media_type) != (MODEL_TYPE, MODEL_CARD_TYPE):
            kind = manifest.artifact_type or manifest.config.media_type
            raise ImageError("not a model", where=descriptor.digest.text, expected=MODEL_TYPE, actual=kind)
        if len(manifest.layers) != 1 or DIFF_ID not in manifest.layers[0].annotations:
            raise ImageError(
                "a model has one layer, which names its tar", where=descriptor.digest.text, expected=DIFF_ID
            )
        if manifest.config.size > MAX_CARD_BYTES:
            raise ImageError("model card is too large", where=descriptor.digest.text)
        raw = store.layout.read(manifest.config)
        layer = manifest.layers[0]
        return cls(
            descriptor=descriptor,
            manifest=manifest,
            card=parse_card(raw, where=descriptor.digest.text),
            card_bytes=raw,
            layer=layer,
            diff_id=Digest(layer.annotations[DIFF_ID]),
        )

    @property
    def digest(self) -> Digest:
        """Of the manifest, which is the model's version."""
        return self.manifest.digest

    def unpack(self, store: ImageStore) -> Path:
        """Unpack its layer, once, and see that there is nothing in it but the card and the weights that it names.

        Returns:
            The layer's folder.

        Raises:
            ImageError: The layer is not what its digests say, or holds something else.
        """
        folder = unpack_layer(store.layout, self.layer, self.diff_id, store.layers, _BOUNDS)
        self.check(folder)
        with (folder / "models" / self.card.name / WEIGHTS).open("rb") as file:
            actual = Digest.of(file.read(MAX_MODEL_BYTES + 1))
        if actual != self.card.weights:
            raise ImageError(
                "the weights are not those of the card",
                where=self.card.name,
                expected=self.card.digest,
                actual=actual.text,
            )
        return folder

    def check(self, folder: Path) -> None:
        """See that an unpacked layer has nothing that could lie over anything else of an image.

        Raises:
            ImageError: It has, or its card is another.
        """
        inside = folder / "models" / self.card.name
        expected = {folder / "models", inside, inside / WEIGHTS, inside / CARD}
        found = set(folder.rglob("*"))
        if found != expected or any(path.is_symlink() for path in found) or not (inside / WEIGHTS).is_file():
            raise ImageError(
                "a model's layer holds its weights and its card, nothing else",
                where=self.card.name,
                actual=", ".join(sorted(str(path.relative_to(folder)) for path in found ^ expected)),
            )
        if not (inside / CARD).is_file() or (inside / CARD).read_bytes() != self.card_bytes:
            raise ImageError("the layer has another card", where=self.card.name)


def make_artifact(store: ImageStore, weights: Path, card: Path, *, name: str | None = None) -> ModelArtifact:
    """Store a model; it has no name in the store yet, and its file was not looked into.

    Args:
        store: Where it goes.
        weights: The ONNX file.
        card: Its card.
        name: Instead of the card's.

    Returns:
        The same for the same files, on every machine with the same zlib.

    Raises:
        UsageError: A file cannot be read.
        ImageError: A file is too large, or the card is none or another file's.
    """
    content = _read(weights, MAX_MODEL_BYTES)
    raw = completed_card(_read(card, MAX_CARD_BYTES), Digest.of(content), name=name, where=str(card))
    told = parse_card(raw, where=str(card))
    with tempfile.TemporaryDirectory(dir=store.cache, prefix="model-") as folder:
        inside = Path(folder) / "models" / told.name
        inside.mkdir(parents=True)
        (inside / WEIGHTS).write_bytes(content)
        (inside / CARD).write_bytes(raw)
        packed = pack(Path(folder), store.layout)
    notes = {LAYER_NAME: told.name, MODEL_LABEL: told.digest, DIFF_ID: packed.diff_id.text}
    layer = replace(packed.descriptor, annotations=notes)
    config = store.layout.write(raw, MODEL_CARD_TYPE)
    annotations = {TITLE: f"veilbox {model_name(told.name)}", MODEL_LABEL: told.digest, _LICENCES: told.licence}
    manifest = artifact_bytes(MODEL_TYPE, config, (layer,), annotations=annotations)
    described = replace(store.layout.write(manifest, MANIFEST_TYPE), artifact_type=MODEL_TYPE)
    return ModelArtifact.of(store, described)


def model_name(name: str) -> str:
    """By which name the trust policy knows a model, and the last part of the repository that it is signed as."""
    return f"model-{name}"


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise UsageError("cannot be read", where=str(path), actual=error.strerror or str(error)) from error
    if len(content) > limit:
        raise ImageError("file is too large for a model", where=str(path), expected=f"at most {limit} bytes")
    return content
