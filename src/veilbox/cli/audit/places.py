"""Where the log is, and files that the actions read and write."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from veilbox.core.errors import OutputError, SourceMissing, UsageError


def add_log(parser: argparse.ArgumentParser) -> None:
    """The option that names another log than this machine's."""
    parser.add_argument("--log", type=Path, metavar="FOLDER", help="the log (default: this machine's)")


def log_folder(arguments: argparse.Namespace) -> Path:
    """The folder of the log."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415

    given: Path | None = arguments.log
    return ImageStore.default().root / "audit" if given is None else given


def read(path: Path) -> bytes:
    """A file's content.

    Raises:
        SourceMissing: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceMissing("cannot be read", where=str(path), actual=error.strerror or "") from error


def read_json(path: Path) -> Any:
    """A JSON file's value.

    Raises:
        UsageError: It holds no JSON.
    """
    try:
        return json.loads(read(path))
    except ValueError as error:
        raise UsageError("not JSON", where=str(path)) from error


def write_json(value: Any, path: Path | None) -> None:
    """Print a value, or write it to a file.

    Raises:
        OutputError: The file cannot be written.
    """
    text = json.dumps(value, indent=1) + "\n"
    if path is None:
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError("cannot be written", where=str(path), actual=error.strerror or "") from error
