"""Writing an HTML page where the user wants it."""

from __future__ import annotations

from pathlib import Path

from veilbox.core.errors import OutputError


def write_page_file(path: Path, page: str) -> None:
    """Write a page.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError("cannot write the page", where=str(path), actual=str(error.strerror)) from error
