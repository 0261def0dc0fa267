"""The supervisor's own look at the log: what audit acknowledged stands there, byte for byte.

Nothing is parsed: the entries are the supervisor's own words, looked for behind where the job found the log. What audit
signed over them, `veilbox audit verify` checks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from veilbox.core.errors import LogError

_ADVICE = "Keep the log's folder as evidence; nothing that the log does not hold was released from here on"


class LogWitness:
    """Watches one segment for the entries of one job.

    Args:
        segment: The file that audit appends to; other jobs' audit does too.
    """

    def __init__(self, segment: Path) -> None:
        self._segment = segment
        self._from = segment.stat().st_size if segment.exists() else 0
        self._seen: list[tuple[int, int, bytes]] = []

    def see(self, texts: Sequence[str], digest: str) -> None:
        """Look for the entries of one append, which lie behind one another.

        Args:
            texts: What audit was sent.
            digest: What it answered: of the last one.

        Raises:
            LogError: They are not there, or are not what the answer is about.
        """
        lines = b"".join(text.encode() + b"\n" for text in texts)
        if digest != leaf_digest(texts[-1]):
            raise LogError("audit acknowledges another entry than it was sent", where="audit", advice=_ADVICE)
        read = self._read(self._from, None)
        place = read.find(lines)
        if place < 0:
            raise LogError("audit acknowledges what it has not written", where="audit", advice=_ADVICE)
        self._seen.append((self._from + place, len(lines), hashlib.sha256(lines).digest()))
        self._from += place + len(lines)

    def see_again(self) -> None:
        """Look whether everything is still there.

        Raises:
            LogError: Something was changed or cut since.
        """
        for place, length, digest in self._seen:
            if hashlib.sha256(self._read(place, length)).digest() != digest:
                raise LogError("the audit log lost what it had acknowledged", where="audit", advice=_ADVICE)

    def _read(self, place: int, length: int | None) -> bytes:
        try:
            with self._segment.open("rb") as file:
                file.seek(place)
                return file.read(length)
        except OSError as error:
            raise LogError(
                "the audit log cannot be read", where=str(self._segment), actual=os.strerror(error.errno or 0)
            ) from error


def leaf_digest(text: str) -> str:
    """An entry's digest in the log's tree: RFC 9162, section 2.1.1."""
    return f"sha256:{hashlib.sha256(bytes(1) + text.encode()).hexdigest()}"
