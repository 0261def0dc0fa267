"""The progress bar itself, drawn by rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from veilbox.core.errors import printable


class Bar:
    """The seam's progress drawn by rich."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._phase = bar.add_task("starting", total=None)
        self._items: dict[int, TaskID] = {}

    def phase(self, text: str) -> None:
        """Name the phase until the first item opens."""
        self._bar.update(self._phase, description=text)

    def item(self, index: int, count: int, name: str, frames: int) -> None:
        """Start one item's line."""
        self._bar.update(self._phase, visible=False)
        description = printable(name) if count == 1 else f"[{index + 1}/{count}] {printable(name)}"
        self._items[index] = self._bar.add_task(description.replace("[", "\\["), total=frames or None)

    def advance(self, index: int, frames: int) -> None:
        """Move one item's line."""
        if index in self._items:
            self._bar.update(self._items[index], completed=frames)

    def done(self, index: int) -> None:
        """Take one item's line away, so that a folder of thousands does not scroll."""
        if index in self._items:
            self._bar.remove_task(self._items.pop(index))


@contextmanager
def drawn() -> Iterator[Bar]:
    """A bar on standard error, gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Bar(bar)
