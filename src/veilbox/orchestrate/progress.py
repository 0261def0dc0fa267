"""How a run tells a person where it stands."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called from the supervisor's loop; must return quickly."""

    def phase(self, text: str) -> None:
        """A new phase began: images, containers, frames."""

    def item(self, index: int, count: int, name: str, frames: int) -> None:
        """An item was opened; `frames` is the expected number, 0 if unknown."""

    def advance(self, index: int, frames: int) -> None:
        """So many frames of an item are encoded or detected."""

    def done(self, index: int) -> None:
        """An item was released or failed."""


class Silent:
    """Progress for programs: none."""

    def phase(self, text: str) -> None:
        """Nothing."""

    def item(self, index: int, count: int, name: str, frames: int) -> None:
        """Nothing."""

    def advance(self, index: int, frames: int) -> None:
        """Nothing."""

    def done(self, index: int) -> None:
        """Nothing."""
