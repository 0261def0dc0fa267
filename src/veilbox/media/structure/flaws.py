"""What is wrong with a file's structure, gathered and bounded."""

from __future__ import annotations

from collections import Counter

from veilbox.core.frozen import frozen
from veilbox.core.metadata import MetadataField

# Different flaws that are kept apart; the rest is one more, which says so.
_MOST = 500
# Parts that a parser looks at before it gives up. A film of a day has five million frames.
MOST_PARTS = 20_000_000


class Unreadable(Exception):
    """The structure cannot be followed beyond this place.

    Args:
        path: Where.
        what: Why, a short word.
    """

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        self.path = path
        self.what = what


@frozen
class Allowed:
    """What a policy lets a file hold besides the pixels.

    Attributes:
        audio: A track of sound.
        metadata: What a file says about itself, by name.
        c2pa: A C2PA manifest, which must then be there.
    """

    audio: bool = False
    metadata: frozenset[MetadataField] = frozenset()
    c2pa: bool = False

    @property
    def profile(self) -> bool:
        """Whether a colour profile may be there."""
        return MetadataField.COLOUR_PROFILE in self.metadata

    @property
    def exif(self) -> bool:
        """Whether an EXIF block, or words of a film, may be there."""
        return bool(self.metadata - {MetadataField.COLOUR_PROFILE})


@frozen(kw_only=False)
class Flaw:
    """One thing that is wrong.

    Attributes:
        path: Names of the parts around it, outermost first, with slashes.
        what: A short word.
        count: How often.
    """

    path: str
    what: str
    count: int


class Flaws:
    """The flaws of one file."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()
        self._parts = 0

    def add(self, path: str, what: str) -> None:
        """Note a flaw."""
        key = (path, what)
        self._seen[key if key in self._seen or len(self._seen) < _MOST else ("", "more")] += 1

    def part(self, path: str) -> None:
        """Count a part of the file.

        Raises:
            Unreadable: There are too many.
        """
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise Unreadable(path, "too many parts")

    def unless(self, good: bool, path: str, what: str) -> None:  # noqa: FBT001 - the condition is the point
        """Note a flaw if something does not hold."""
        if not good:
            self.add(path, what)

    @property
    def all(self) -> tuple[Flaw, ...]:
        """Every flaw once, in the order in which they were met."""
        return tuple(Flaw(path, what, count) for (path, what), count in self._seen.items())


def named(kind: bytes) -> str:
    """A four-character code that is safe to print; other bytes in hexadecimal."""
    text = kind.decode("latin-1")
    return text.strip() if text.isascii() and text.isprintable() and "/" not in text else f"0x{kind.hex()}"
