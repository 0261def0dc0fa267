"""Where a hash lies in the tree file. Pure arithmetic.

The file has one group for each entry: 8 bytes, big-endian, the end of the entry's line counted from the log's first
byte; then, 32 bytes each, the hashes of the subtrees that the entry completes, from its own leaf hash upwards. Entry i
completes as many as i has trailing one bits, and one; so the first i groups have 2i - popcount(i) hashes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from veilbox.audit.files import File
from veilbox.audit.merkle import HASH_BYTES
from veilbox.core.errors import LogError

_END = struct.Struct(">Q")


def group_offset(index: int) -> int:
    """Where the group of an entry begins, and the file's length when it has so many entries; bytes."""
    return _END.size * index + HASH_BYTES * (2 * index - index.bit_count())


def node_offset(level: int, number: int) -> int:
    """Where the hash of a complete subtree lies; bytes."""
    last_leaf = ((number + 1) << level) - 1
    return group_offset(last_leaf) + _END.size + HASH_BYTES * level


def group(end: int, completed: Sequence[bytes]) -> bytes:
    """One entry's group."""
    return _END.pack(end) + b"".join(completed)


class TreeFile:
    """Reads of a tree file."""

    def __init__(self, file: File) -> None:
        self._file = file

    def node(self, level: int, number: int) -> bytes:
        """The stored hash of a complete subtree; see `merkle.Nodes`."""
        return self._read(node_offset(level, number), HASH_BYTES)

    def end(self, count: int) -> int:
        """Bytes of the lines of the log's first `count` entries."""
        return _END.unpack(self._read(group_offset(count - 1), _END.size))[0] if count else 0

    def _read(self, offset: int, length: int) -> bytes:
        data = self._file.read(offset, length)
        if len(data) != length:
            raise LogError("the tree file is too short", where="audit log", expected=f"{offset + length} bytes")
        return data
