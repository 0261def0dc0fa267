"""Paths that a person named -> the items of a job.

A folder is walked without following links; what is no image or film by its suffix is counted and left alone. Content
is judged later, by ingest, inside its container.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from veilbox.core.errors import OutputError, SourceMissing, UsageError
from veilbox.core.job import Item
from veilbox.media.formats import is_handled

_Found = tuple[Path, Path]


def items_for(inputs: Sequence[Path], output: str | None) -> tuple[tuple[Item, ...], int, bool]:
    """Expand files and folders.

    Args:
        inputs: Files or folders.
        output: A file for one file, or a folder if it is one or ends with a slash; a folder for several inputs or
            for a folder; None if nothing is written.

    Returns:
        The items, the number of files in folders that were skipped, and whether sources were collected.

    Raises:
        SourceMissing: An input is not there, a folder cannot be listed in full, or it holds no image or film.
        UsageError: Two sources would have the same output, or an output is one of the sources.
        OutputError: The output's folder does not exist or cannot be written.
    """
    with _lookups(SourceMissing):
        found, skipped, collected = _sources(inputs)
    with _lookups(OutputError):
        folder = Path(output) if output is not None and collected else None
        items = [_placed(*each, folder) for each in found] if collected else [_single(inputs[0], output)]
        _check_outputs(items)
    return tuple(items), skipped, collected


@contextmanager
def _lookups(fault: type[SourceMissing | OutputError]) -> Iterator[None]:
    """Names that the system refuses to look up: too long, or behind a folder that may not be searched."""
    try:
        yield
    except OSError as error:
        raise fault(
            "cannot be looked up",
            where=os.fsdecode(error.filename or ""),
            actual=error.strerror or "",
            advice="Check the path and its permissions",
        ) from error


def _sources(inputs: Sequence[Path]) -> tuple[list[_Found], int, bool]:
    for path in inputs:
        if not path.exists():
            raise SourceMissing("no such file or folder", where=str(path), advice="Check the path")
    if len(inputs) == 1 and not inputs[0].is_dir():
        return [], 0, False
    found, skipped = _collect(inputs)
    if not found:
        raise SourceMissing("holds no image or film", where=", ".join(str(path) for path in inputs))
    return found, skipped, True


def _single(source: Path, output: str | None) -> Item:
    if output is None:
        return Item(source=source, output=None, name=str(source))
    path = Path(output)
    if path.is_dir() or output.endswith(os.sep):
        return Item(source=source, output=path / source.name, name=str(source))
    if not path.parent.is_dir():
        raise OutputError("the folder does not exist", where=str(path.parent), advice="Create the folder first")
    return Item(source=source, output=path, name=str(source))


def _placed(source: Path, relative: Path, folder: Path | None) -> Item:
    return Item(source=source, output=None if folder is None else folder / relative, name=str(source))


def _collect(inputs: Iterable[Path]) -> tuple[list[_Found], int]:
    found: list[_Found] = []
    skipped = 0
    for root in inputs:
        if not root.is_dir():
            found.append((root, Path(root.name)))
            continue
        for path in _walk(root):
            if _is_source(path):
                found.append((path, path.relative_to(root)))
            else:
                skipped += 1
    return found, skipped


def _walk(root: Path) -> Iterator[Path]:
    """Everything below a folder that is no folder, sorted; links to folders are not followed.

    Raises:
        OSError: A folder cannot be listed: what it holds would be left out without a word.
    """
    for folder, folders, names in os.walk(root, onerror=_raise, followlinks=False):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _raise(error: OSError) -> NoReturn:
    raise error


def _is_source(path: Path) -> bool:
    """A regular file with the suffix of an image or film; a link may point out of the folder and is none."""
    return is_handled(path.suffix.lower().removeprefix(".")) and path.is_file() and not path.is_symlink()


def _check_outputs(items: Sequence[Item]) -> None:
    taken: dict[Path, Item] = {}
    sources = {_identity(item.source) for item in items}
    for item in items:
        if item.output is None:
            continue
        if item.output.exists() and _identity(item.output) in sources:
            raise UsageError("the output is one of the inputs", where=str(item.output), advice="Choose another output")
        other = taken.setdefault(item.output, item)
        if other is not item:
            raise UsageError(
                "two inputs would have the same output",
                where=str(item.output),
                actual=f"{other.name} and {item.name}",
                advice="Give the folders one by one, each with an output of its own",
            )


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
