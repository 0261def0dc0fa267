"""Open a source for ingest: one descriptor, read-only for good."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from veilbox.core.errors import VeilboxError
from veilbox.oci.runtime.mounts import read_only_clone


@dataclass(frozen=True, slots=True)
class SourceFile:
    """An open source."""

    fd: int
    size: int


@contextmanager
def open_source_file(path: Path, name: str) -> Iterator[SourceFile]:
    """A descriptor of the file alone, on a read-only view of its mount, so that it cannot be reopened for writing.

    Raises:
        SourceMissing: The file is not there or may not be read.
        SourceUnsupported: It is no regular file.
    """
    try:
        fd = read_only_clone(path)
    except VeilboxError as error:
        raise error.located(name) from error
    try:
        yield SourceFile(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
