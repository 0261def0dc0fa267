"""The models that images carry, as their cards tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.admit import RunnableImage
from veilbox.oci.models.artifact import CARD, WEIGHTS
from veilbox.oci.models.card import MAX_CARD_BYTES, Card, parse_card


@dataclass(frozen=True, kw_only=True, slots=True)
class CarriedModel:
    """A model in an image.

    Attributes:
        image: The image that carries it.
        card: What it says of itself.
        folder: Its layer, unpacked.
        stated: The digest of the weights that the image's signed configuration names.
    """

    image: str
    card: Card
    folder: Path
    stated: Digest

    @property
    def file(self) -> Path:
        """Its weights on this machine."""
        return self.folder / "models" / self.card.name / WEIGHTS


def carried(image: RunnableImage) -> CarriedModel | None:
    """The model in an admitted image, or None.

    Raises:
        ImageError: Its card is unreadable, or of another model than the image's configuration names.
    """
    found = list(_cards(image))
    if image.model is None or not found:
        return None
    card, folder = found[-1]
    if card.weights != image.model:
        raise ImageError(
            "model is not what its image says", where=image.name, expected=str(image.model), actual=card.digest
        )
    return CarriedModel(image=image.name, card=card, folder=folder, stated=image.model)


def _cards(image: RunnableImage) -> Iterator[tuple[Card, Path]]:
    for layer in image.layers:
        for path in sorted((layer / "models").glob(f"*/{CARD}")):
            with path.open("rb") as file:
                yield parse_card(file.read(MAX_CARD_BYTES + 1), where=str(path)), layer
