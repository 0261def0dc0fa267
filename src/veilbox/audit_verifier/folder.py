"""A whole log, entry by entry: everything in its files must be what the signed checkpoints say, and nothing else.

The clauses stand in docs/reference/audit-log.md. The first fault ends the verification.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from veilbox.audit_verifier.note import Checkpoint, PublicKey, open_note
from veilbox.audit_verifier.tree import Stack, hash_leaf
from veilbox.core.errors import LogError, SourceMissing

_SEGMENT = re.compile(r"[0-9]{20}\.jsonl", re.ASCII)
# The writer's notes have five lines, the last of them a signature.
_NOTE_LINES = 5
_MAX_LINE = 64 << 10
_HASH = 32
_ARCHIVED = "If they were archived, give --archived"
_TORN = "The next job clears away what a crash left; if it was no crash, keep the folder as evidence"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What was verified.

    Attributes:
        origin: The log's name.
        size: Entries that the last checkpoint covers.
        root: The tree's root, 32 bytes.
        checkpoints: Signed notes.
        archived: Entries whose segments are elsewhere: their hashes are covered, their lines were not seen.
    """

    origin: str
    size: int
    root: bytes
    checkpoints: int
    archived: int


@dataclass(frozen=True, slots=True)
class _Segment:
    path: Path
    first: int


def verify_folder(root: Path, key: PublicKey, *, known: Checkpoint | None = None, archived: bool = False) -> Verified:
    """Verify every entry, every stored hash and every checkpoint of a log.

    Args:
        root: The log's folder.
        key: The log's public key, from a place that whoever may write the folder may not.
        known: A checkpoint that was kept elsewhere: the log must have grown out of it.
        archived: Whether segments may be missing from the front.

    Raises:
        LogError: The first fault.
        SourceMissing: There is no log, or it cannot be read.
    """
    try:
        return _Walk(root, key, known, archived=archived).run()
    except OSError as error:
        raise SourceMissing(
            "cannot read the log", where=str(error.filename or root), actual=error.strerror or ""
        ) from error


class _Walk:
    def __init__(self, root: Path, key: PublicKey, known: Checkpoint | None, *, archived: bool) -> None:
        self._root = root
        self._key = key
        self._known = known
        self._archived = archived
        self._stack = Stack()
        self._end = 0
        self._wanted: Checkpoint | None = None
        self._seen = 0

    def run(self) -> Verified:
        segments = list(self._segments())
        archived = self._missing(segments)
        notes = self._notes()
        self._next(notes)
        with (self._root / "tree").open("rb") as tree:
            self._catch_up(notes)
            for leaf, length in self._leaves(tree, segments):
                if self._wanted is None:
                    self._fault("an entry after the last that was signed", self._root, advice=_TORN)
                self._add(tree, leaf, length)
                self._catch_up(notes)
            self._nothing_left(tree)
        return Verified(
            origin=self._key.name,
            size=self._stack.count,
            root=self._stack.root(),
            checkpoints=self._seen,
            archived=archived,
        )

    def _next(self, notes: Iterator[Checkpoint]) -> None:
        self._wanted = next(notes, None)
        self._seen += self._wanted is not None

    def _missing(self, segments: list[_Segment]) -> int:
        """The number of entries in segments that are elsewhere."""
        first = segments[0].first if segments else 0
        if first and not self._archived:
            self._fault("segments are missing", self._root / "entries", "entry 0", str(first), _ARCHIVED)
        return first

    def _leaves(self, tree: BinaryIO, segments: list[_Segment]) -> Iterator[tuple[bytes, int]]:
        """Leaf hash and length in bytes of every entry; from the tree file where the segment is elsewhere."""
        while segments and self._stack.count < segments[0].first:
            head = tree.read(8 + _HASH)
            tree.seek(-len(head), os.SEEK_CUR)
            yield head[8:], int.from_bytes(head[:8], "big") - self._end
        for segment in segments:
            if segment.first != self._stack.count:
                self._fault("a segment is missing", segment.path, f"entry {self._stack.count}", str(segment.first))
            for line in self._lines(segment):
                yield hash_leaf(line), len(line) + 1

    def _segments(self) -> Iterator[_Segment]:
        folder = self._root / "entries"
        for path in sorted(folder.iterdir()):
            if not _SEGMENT.fullmatch(path.name):
                self._fault("a file that is no segment", path)
            yield _Segment(path, int(path.name.partition(".")[0]))

    def _notes(self) -> Iterator[Checkpoint]:
        """Clauses 1 to 3: whole notes, signed by the key, each over more entries than the one before."""
        path, size = self._root / "checkpoints", 0
        with path.open("rb") as file:
            while lines := [line for _ in range(_NOTE_LINES) if (line := file.readline(_MAX_LINE))]:
                if len(lines) < _NOTE_LINES or not lines[-1].endswith(b"\n"):
                    self._fault("an unfinished checkpoint", path, advice=_TORN)
                found = open_note(b"".join(lines), self._key, f"{path}: after entry {size}")
                if found.size <= size:
                    self._fault("a checkpoint that does not grow", path, f"more than {size}", str(found.size))
                size = found.size
                yield found

    def _catch_up(self, notes: Iterator[Checkpoint]) -> None:
        """Clause 6: at a checkpoint's size the entries give its root."""
        known, count = self._known, self._stack.count
        if known is not None and known.size == count and known.root != self._stack.root():
            self._fault("the log did not grow out of the checkpoint that was kept", self._root)
        if self._wanted is not None and self._wanted.size == count:
            if self._wanted.root != self._stack.root():
                self._fault("entries are not those that were signed", self._root, actual=f"before entry {count}")
            self._next(notes)

    def _lines(self, segment: _Segment) -> Iterator[bytes]:
        """Clause 4: whole lines."""
        with segment.path.open("rb") as file:
            while line := file.readline(_MAX_LINE + 2):
                if not line.endswith(b"\n") or len(line) < 2:
                    self._fault("an entry that is no whole line", segment.path, advice=_TORN)
                yield line[:-1]

    def _add(self, tree: BinaryIO, leaf: bytes, length: int) -> None:
        """Clause 5: the tree file has the entry's end and the hashes that it completes."""
        index = self._stack.count
        merged = self._stack.push(leaf)
        self._end += length
        group = self._end.to_bytes(8, "big") + b"".join(merged)
        if tree.read(len(group)) != group:
            self._fault("stored hashes are not those of the entries", self._root / "tree", actual=f"entry {index}")

    def _nothing_left(self, tree: BinaryIO) -> None:
        """Clauses 7 and 8: every checkpoint was reached, and nothing follows the last."""
        if self._wanted is not None:
            self._fault(
                "the log is shorter than was signed", self._root, f"{self._wanted.size} entries", str(self._stack.count)
            )
        if tree.read(1):
            self._fault("bytes after the last signed hash", self._root / "tree", advice=_TORN)
        if self._known is not None and self._known.size > self._stack.count:
            self._fault(
                "the log is shorter than the checkpoint that was kept",
                self._root,
                f"{self._known.size} entries",
                str(self._stack.count),
            )

    def _fault(self, what: str, where: Path, expected: str = "", actual: str = "", advice: str = "") -> NoReturn:
        raise LogError(what, where=str(where), expected=expected, actual=actual, advice=advice)
