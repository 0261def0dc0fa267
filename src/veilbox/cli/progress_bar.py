"""A progress bar with the time that is left, on standard error, where a person looks on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from veilbox.orchestrate import progress as seam


@contextmanager
def progress_for(*, quiet: bool) -> Iterator[seam.Progress]:
    """A bar if a person looks on, else silence."""
    if quiet or not sys.stderr.isatty():
        yield seam.Silent()
        return
    from veilbox.cli.terminal_bar import drawn  # noqa: PLC0415 - rich takes longer than half of what else is imported

    with drawn() as bar:
        yield bar
