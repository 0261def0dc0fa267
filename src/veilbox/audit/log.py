"""The append-only log: entries, tree and checkpoints, in three files.

An append writes the entries' lines, the tree's groups and a signed checkpoint, in this order, each brought to stable
storage before the next is begun. An entry counts once its checkpoint is on stable storage; nothing is acknowledged
earlier. So after a crash the files are as an interrupted append leaves them, or somebody changed them:

    checkpoints   tree               entries              recovery
    whole         whole              whole                none needed
    whole         whole              longer, anything     never acknowledged: cut
    whole         a beginning of     whole lines          cut
                  what they give
    a beginning   all that they      whole lines          cut
    of the note   give
    anything else                                         refused

"A beginning" may end in zeros, as some file systems leave after a loss of power.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from veilbox.audit.checkpoint import MAX_NOTE_BYTES, Head, Signer, last_note, read_own, signed
from veilbox.audit.files import File
from veilbox.audit.merkle import RightEdge, inclusion_proof, leaf_hash
from veilbox.audit.tree_file import TreeFile, group, group_offset
from veilbox.core.errors import LogError, OutputError
from veilbox.core.frozen import frozen

# An entry is numbers and digests of one thing; the longest, a job's images, has a few hundred bytes for each image.
MAX_ENTRY_BYTES = 64 << 10
# What one append may write, and so the most that a crash can leave behind.
MAX_BATCH_BYTES = 1 << 20
_EVIDENCE = "Keep the folder as evidence and run `veilbox audit verify`"


@frozen
class LogFiles:
    """The log's files.

    Attributes:
        entries: Of the current segment: one line of JSON for each entry.
        tree: Hashes and ends of all entries, see `tree_file`.
        checkpoints: Every signed note, one after the other.
        first: The index of the segment's first entry.
    """

    entries: File
    tree: File
    checkpoints: File
    first: int = 0


@frozen
class Acknowledged:
    """What was appended and is on stable storage.

    Attributes:
        first: Index of the first of the entries.
        leaves: Their 32-byte leaf hashes.
        note: The checkpoint that covers them.
    """

    first: int
    leaves: tuple[bytes, ...]
    note: bytes


@frozen(kw_only=False)
class _Pending:
    """An append that is computed and not yet written."""

    edge: RightEdge
    lines: bytes
    groups: bytes
    leaves: tuple[bytes, ...]
    note: bytes


class Log:
    """A log that this process may append to; others may too, so hold a lock around each call.

    Args:
        files: Open files.
        signer: The log's key.

    Raises:
        LogError: The files are not what the key signed, nor what a crash leaves.
        OutputError: They cannot be read or cut.
    """

    def __init__(self, files: LogFiles, signer: Signer) -> None:
        self._files = files
        self._signer = signer
        self._tree = TreeFile(files.tree)
        self._sizes = (-1, -1, -1)
        self._edge = RightEdge()
        self._notes_end = 0
        self.note = b""
        self.recovered_bytes = 0
        self.refresh()

    @property
    def size(self) -> int:
        """Entries that are acknowledged."""
        return self._edge.size

    def refresh(self) -> None:
        """Take in what others appended, and clear away what a crash left."""
        if self._sizes == self._lengths():
            return
        try:
            self._settle()
        except OSError as error:
            raise _refused(error) from error

    def append(self, lines: Sequence[bytes]) -> Acknowledged:
        """Add entries durably, all or none.

        Args:
            lines: Each without its newline.

        Raises:
            LogError: The log is not as it was signed.
            OutputError: It cannot be written; it is left, or will be set, as it was before.
            ValueError: A line has a newline in it, or is empty or too long.
        """
        _check(lines)
        self.refresh()
        pending = self._pending(lines)
        first = self.size
        try:
            for file, data in self._steps(pending):
                file.append(data)
                file.sync()
        except OSError as error:
            self._roll_back()
            raise _refused(error) from error
        self._edge, self.note = pending.edge, pending.note
        self._sizes = self._lengths()
        self._notes_end = self._sizes[2]
        return Acknowledged(first=first, leaves=pending.leaves, note=pending.note)

    def proof(self, index: int) -> tuple[bytes, ...]:
        """The inclusion proof of an entry in the tree of `note`."""
        return tuple(inclusion_proof(self._tree.node, index, self.size))

    def _steps(self, pending: _Pending) -> tuple[tuple[File, bytes], ...]:
        files = self._files
        return (files.entries, pending.lines), (files.tree, pending.groups), (files.checkpoints, pending.note)

    def _pending(self, lines: Sequence[bytes]) -> _Pending:
        edge, end = self._edge.copy(), self._tree.end(self.size)
        groups, leaves = [], []
        for line in lines:
            leaf = leaf_hash(line)
            end += len(line) + 1
            groups.append(group(end, edge.append(leaf)))
            leaves.append(leaf)
        note = signed(Head(origin=self._signer.name, size=edge.size, root=edge.root()), self._signer)
        return _Pending(edge, b"".join(line + b"\n" for line in lines), b"".join(groups), tuple(leaves), note)

    def _lengths(self) -> tuple[int, int, int]:
        files = self._files
        return files.entries.size(), files.tree.size(), files.checkpoints.size()

    def _committed(self) -> tuple[int, int, int]:
        """The lengths that the files have if nothing follows the last checkpoint."""
        base, end = self._tree.end(self._files.first), self._tree.end(self.size)
        return end - base, group_offset(self.size), self._notes_end

    def _settle(self) -> None:
        torn = self._read_head()
        whole, found = self._committed(), self._lengths()
        if any(length < expected for length, expected in zip(found, whole, strict=True)):
            raise LogError(
                "the audit log is shorter than was signed",
                where="audit log",
                expected=f"{whole[0]} and {whole[1]} bytes",
                actual=f"{found[0]} and {found[1]}",
                advice=_EVIDENCE,
            )
        self._check_last_entry(whole[0])
        if found != whole:
            self._check_remains(whole, found, torn)
            self._cut(whole)
            self.recovered_bytes += sum(found) - sum(whole)
        self._sizes = self._lengths()

    def _read_head(self) -> bytes:
        """Take the last whole checkpoint as the state; what follows it is returned."""
        file = self._files.checkpoints
        length = file.size()
        start = max(0, length - 2 * MAX_NOTE_BYTES)
        note, torn = last_note(file.read(start, length - start))
        size = 0
        if note:
            head = read_own(note, self._signer)
            size = head.size
        elif start or len(torn) > MAX_NOTE_BYTES:
            raise LogError("no checkpoint at the end of the checkpoints", where="audit log", advice=_EVIDENCE)
        self._edge = RightEdge.of(self._tree.node, size)
        self._notes_end = length - len(torn)
        self.note = note
        if note and self._edge.root() != head.root:
            raise LogError("the tree is not the one that was signed", where="audit log", advice=_EVIDENCE)
        if self._files.first > size:
            raise LogError("a segment begins after the log's end", where="audit log", advice=_EVIDENCE)
        return torn

    def _check_last_entry(self, segment_bytes: int) -> None:
        """The entries file belongs to this tree: its last acknowledged line has the last leaf's hash."""
        if self.size == self._files.first:
            return
        length = self._tree.end(self.size) - self._tree.end(self.size - 1)
        if not 1 < length <= MAX_ENTRY_BYTES + 1:
            raise LogError("an entry's length is out of bounds", where="audit log", advice=_EVIDENCE)
        line = self._files.entries.read(segment_bytes - length, length)
        if line[-1:] != b"\n" or leaf_hash(line[:-1]) != self._tree.node(0, self.size - 1):
            raise LogError("the last entry is not the one that was signed", where="audit log", advice=_EVIDENCE)

    def _check_remains(self, whole: tuple[int, int, int], found: tuple[int, int, int], torn: bytes) -> None:
        """Raise unless what follows the last checkpoint is what an interrupted append leaves; see the table above."""
        entries, groups = found[0] - whole[0], found[1] - whole[1]
        if entries > MAX_BATCH_BYTES or groups > MAX_BATCH_BYTES:
            raise LogError("more than one append follows the last checkpoint", where="audit log", advice=_EVIDENCE)
        if not groups and not torn:
            return
        lines = self._files.entries.read(whole[0], entries).split(b"\n")
        stored = self._files.tree.read(whole[1], groups)
        if not lines.pop() and lines and all(lines):
            pending = self._pending(lines)
            if torn and stored == pending.groups and _is_torn(torn, pending.note):
                return
            if not torn and _is_torn(stored, pending.groups, whole_too=True):
                return
        raise LogError("what follows the last checkpoint is no torn append", where="audit log", advice=_EVIDENCE)

    def _cut(self, whole: tuple[int, int, int]) -> None:
        """Last written, first cut: a crash in between leaves what an append leaves."""
        files = self._files
        for file, length in reversed(tuple(zip((files.entries, files.tree, files.checkpoints), whole, strict=True))):
            if file.size() != length:
                file.cut(length)
                file.sync()

    def _roll_back(self) -> None:
        try:
            self._cut(self._committed())
        except OSError:
            self._sizes = (-1, -1, -1)  # the next append, or the next job, tries again


def _is_torn(found: bytes, wanted: bytes, *, whole_too: bool = False) -> bool:
    """Whether `found` is a beginning of `wanted`, perhaps with zeros after it, no longer than `wanted`."""
    if found == wanted:
        return whole_too
    begun = found.rstrip(b"\0")
    # The beginning itself may end in a zero byte of a hash.
    return len(found) <= len(wanted) and wanted.startswith(begun)


def _check(lines: Sequence[bytes]) -> None:
    if not lines or any(not line or b"\n" in line or len(line) > MAX_ENTRY_BYTES for line in lines):
        raise ValueError(f"not lines of 1 to {MAX_ENTRY_BYTES} bytes")
    if sum(len(line) + 1 for line in lines) > MAX_BATCH_BYTES:
        raise ValueError(f"more than {MAX_BATCH_BYTES} bytes in one append")


def _refused(error: OSError) -> OutputError:
    return OutputError(
        "cannot write the audit log",
        where="audit",
        actual=os.strerror(error.errno or 0),
        advice="Free some space and run again",
    )
