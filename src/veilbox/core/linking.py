"""How often redacted faces were linked back to their originals: rates, no pictures."""

from __future__ import annotations

from veilbox.core.errors import ProtocolError
from veilbox.core.frozen import frozen
from veilbox.core.policy import MAX_CELLS, Redaction, Style

# What the adversary is tried on, the weakest first; without redaction is the most that it can reach.
STRENGTHS: tuple[Redaction | None, ...] = (
    None,
    *(Redaction(style=style, cells=cells) for style in (Style.BLUR, Style.PIXELATE) for cells in (8, 6, 4, 2, 1)),
    Redaction(style=Style.SOLID),
)
ADVERSARIES = ("pixels", "eigenfaces")
# Beyond this the adversary's memory would be the limit: some 60 kB a picture.
MOST_PICTURES = 5000


@frozen
class LinkRate:
    """One adversary against one strength.

    Attributes:
        style: `none`, or the style.
        cells: Of pixelate and blur; 0 for others.
        adversary: Which, of `ADVERSARIES`.
        same: Whether the gallery holds the very pictures that were redacted; else other pictures of the same people.
        hits: Redacted faces whose nearest neighbour was the right one; a tie counts by its share.
        trials: Redacted faces.
        chance: The rate of somebody who guesses.
    """

    style: str
    cells: int
    adversary: str
    same: bool
    hits: float
    trials: int
    chance: float

    def __post_init__(self) -> None:
        known = self.style in {"none", *Style} and self.adversary in ADVERSARIES and 0 <= self.cells <= MAX_CELLS
        if not known or not 0 <= self.hits <= self.trials <= MOST_PICTURES or not 0 <= self.chance <= 1:
            raise ProtocolError("a rate that cannot be", actual=f"{self.hits} of {self.trials}")
