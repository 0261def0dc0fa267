"""What images cost on this machine: bytes that are one image's own, and bytes that it shares."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from veilbox.core.digest import Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Bytes of one kind.

    Attributes:
        unique: Of content that no other image has.
        shared: Of content that another has too; on disk it is there once.
    """

    unique: int
    shared: int


def shares(images: Mapping[str, frozenset[Digest]], sizes: Mapping[Digest, int]) -> dict[str, Share]:
    """How each image's content divides.

    Args:
        images: The content of each, by name.
        sizes: Bytes of each piece; what is missing counts 0.
    """
    owners = Counter(digest for content in images.values() for digest in content)
    result: dict[str, Share] = {}
    for name, content in images.items():
        own = sum(sizes.get(digest, 0) for digest in content if owners[digest] == 1)
        everything = sum(sizes.get(digest, 0) for digest in content)
        result[name] = Share(unique=own, shared=everything - own)
    return result


def disk_bytes(folder: Path) -> int:
    """Bytes that a folder takes on disk (stat's blocks of 512 bytes), hard links once."""
    seen: dict[tuple[int, int], int] = {}
    for status in _statuses(folder):
        seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    try:
        yield folder.lstat()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _statuses(Path(entry.path))
                else:
                    yield entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return  # collected meanwhile
