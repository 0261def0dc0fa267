"""One declarative request: which sources, which outputs, which policy."""

from __future__ import annotations

from pathlib import Path

from veilbox.core.frozen import frozen
from veilbox.core.policy import Policy


@frozen
class Item:
    """One source and the final name of its output.

    Attributes:
        source: The file to read.
        output: The name that the result gets; None where nothing is written (`veilbox detect`).
        name: How messages and reports call the source: its path as the user gave it.
    """

    source: Path
    output: Path | None
    name: str

    @property
    def suffix(self) -> str:
        """The output's suffix in lower case without the dot; it chooses container and encoder."""
        return (self.output or self.source).suffix.lower().removeprefix(".")


@frozen
class Job:
    """What the command line, the REST interface and the Kubernetes resource parse into.

    Attributes:
        items: In the order in which they run.
        policy: What to hide and what must hold.
        skipped: Files of a folder that are neither images nor films by their suffix, and links.
        replace: Whether an output may replace a file that has its name.
        folder: Whether the sources were collected, so that one bad source does not stop the others.
    """

    items: tuple[Item, ...]
    policy: Policy
    skipped: int = 0
    replace: bool = False
    folder: bool = False
