"""Reading the audit log without its key: entries by index or job, proofs, and bundles for others.

Nothing here vouches for anything: whoever wants to know verifies (`veilbox.audit_verifier`).
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from veilbox.audit.checkpoint import MAX_NOTE_BYTES, last_note
from veilbox.audit.entry import AnyEntry, Decision, Deleted, DeletionDue, ImagesAdmitted, PolicyApplied, decode_entry
from veilbox.audit.files import DescriptorFile
from veilbox.audit.merkle import inclusion_proof
from veilbox.audit.statement import base64_hashes
from veilbox.audit.tree_file import TreeFile
from veilbox.core.errors import LogError, SourceMissing, UsageError
from veilbox.orchestrate.audit_log import first_index, segments

BUNDLE_FORMAT = "veilbox/audit-bundle/v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One entry as the log has it."""

    index: int
    data: bytes

    @property
    def entry(self) -> AnyEntry:
        """The entry's values."""
        return decode_entry(self.data)

    @property
    def of(self) -> str | None:
        """The earlier job whose material the entry is about."""
        entry = self.entry
        return entry.of if isinstance(entry, Deleted | DeletionDue | Decision) else None


class LogReader:
    """The log as it is at its last checkpoint.

    Attributes:
        size: Entries that the checkpoint covers.
        note: The checkpoint.
    """

    def __init__(self, root: Path, tree: int) -> None:
        self._root = root
        self._tree = TreeFile(DescriptorFile(tree))
        tail = _tail(root / "checkpoints")
        self.note = last_note(tail)[0].decode("utf-8", "replace")
        self.size = int(self.note.split("\n")[1]) if self.note else 0

    @classmethod
    @contextmanager
    def open(cls, root: Path) -> Iterator[Self]:
        """Open a log.

        Args:
            root: Its folder.

        Raises:
            SourceMissing: There is none, or it may not be read.
            LogError: Its last checkpoint is none.
        """
        try:
            fd = os.open(root / "tree", os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield cls(root, fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise SourceMissing(
                "cannot read the log", where=str(error.filename or root), actual=error.strerror or ""
            ) from error
        except (ValueError, IndexError) as error:
            raise LogError("the log cannot be read", where=str(root), advice="Run `veilbox audit verify`") from error

    def lines(self, first: int = 0, last: int | None = None) -> Iterator[Line]:
        """Entries from an index to another, both included; those of archived segments are left out."""
        stop = self.size if last is None else min(self.size, last + 1)
        here = segments(self._root)
        for number, segment in enumerate(here):
            start = max(first, first_index(segment))
            end = min(stop, first_index(here[number + 1])) if number + 1 < len(here) else stop
            if start < end:
                yield from self._segment_lines(segment, start, end)

    def _segment_lines(self, segment: Path, start: int, end: int) -> Iterator[Line]:
        base = self._tree.end(first_index(segment))
        with segment.open("rb") as file:
            file.seek(self._tree.end(start) - base)
            for index in range(start, end):
                yield Line(index=index, data=file.readline().removesuffix(b"\n"))

    def line(self, index: int) -> Line:
        """One entry.

        Raises:
            UsageError: The log has no such entry, or its segment was archived.
        """
        found = next(self.lines(index, index), None) if index >= 0 else None
        if found is None:
            raise UsageError(
                "no such entry here", where=str(self._root), expected=f"0 to {self.size - 1}", actual=str(index)
            )
        return found

    def job(self, name: str) -> list[Line]:
        """A job's entries, and those of later jobs that tell what became of its material.

        Raises:
            UsageError: The log has none.
        """
        first, last = self._range(name)
        marks = (f'"job":{json.dumps(name)}'.encode(), f'"of":{json.dumps(name)}'.encode())
        found = [line for line in self.lines(first, last) if marks[0] in line.data and line.entry.job == name]
        if not found:
            raise UsageError("no such job in the log", where=str(self._root), actual=name)
        later = [line for line in self.lines(found[-1].index + 1) if marks[1] in line.data and line.of == name]
        return found + later

    def _range(self, name: str) -> tuple[int, int | None]:
        """Where a job's entries lie, as its attestation says; everywhere if it has none."""
        envelope = self.attestation(name)
        if envelope is None:
            return 0, None
        log = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["log"]
        return int(log["first"]), int(log["last"])

    def attestation(self, name: str) -> dict[str, Any] | None:
        """A job's DSSE envelope, if it released something."""
        return _read_json(self._root / "attestations" / f"{name}.json") if name.isalnum() else None

    def policy(self, digest: str) -> Any:
        """What a policy digest stands for, if it was kept."""
        return _read_json(self._root / "policies" / f"{digest.removeprefix('sha256:')}.json")

    def sbom(self, digest: str) -> str | None:
        """An image's SBOM, if it was kept."""
        path = self._root / "sboms" / f"{digest.removeprefix('sha256:')}.json"
        return path.read_text("utf-8") if path.is_file() else None

    @property
    def key(self) -> str:
        """The public key that lies beside the log."""
        path = self._root / "key.pub"
        return path.read_text("ascii", "replace").strip()

    def bundle(self, lines: list[Line]) -> dict[str, Any]:
        """Entries with their proofs, for somebody who has the public key and nothing else."""
        return {
            "format": BUNDLE_FORMAT,
            "key": self.key,
            "checkpoint": self.note,
            "entries": [
                {"index": line.index, "line": line.data.decode(), "proof": self.proof(line.index)} for line in lines
            ],
        }

    def proof(self, index: int) -> list[str]:
        """The inclusion proof of an entry in the tree of `note`, base64, nearest sibling first."""
        return base64_hashes(inclusion_proof(self._tree.node, index, self.size))

    def job_bundle(self, name: str, report: Any = None) -> dict[str, Any]:
        """A job's bundle: entries, proofs, checkpoint, policy, image digests and SBOMs, attestation, report."""
        lines = self.job(name)
        bundle = self.bundle(lines)
        for entry in (line.entry for line in lines):
            if isinstance(entry, PolicyApplied):
                bundle["policy"] = self.policy(entry.digest)
            if isinstance(entry, ImagesAdmitted):
                bundle["sboms"] = {digest: self.sbom(digest) for digest in entry.sboms.values()}
        return bundle | {"envelope": self.attestation(name), "report": report}


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - 2 * MAX_NOTE_BYTES))
        return file.read()


def _read_json(path: Path) -> Any:
    return json.loads(path.read_bytes()) if path.is_file() else None
