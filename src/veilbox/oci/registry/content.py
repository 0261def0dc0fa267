"""Places that content is moved between: a registry's repository, a layout on disk, an archive.

A source gives bytes and promises nothing; who receives them verifies (`Check`), so no source can be forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Protocol

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.spec import Descriptor

# Bytes from an offset on, as they arrive.
Bytes = Callable[[int], Iterator[bytes]]


class Way(StrEnum):
    """How a blob came to be at its target."""

    THERE = "there"
    MOUNTED = "mounted"
    SENT = "sent"


class Source(Protocol):
    """Where content comes from."""

    def resolve(self, name: str) -> Descriptor | None:
        """What a tag or name stands for, or None."""

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest or index, verified: small and whole.

        Raises:
            ImageError: It is not there, or not what the descriptor says.
        """

    def blob(self, descriptor: Descriptor) -> tuple[Bytes, ...]:
        """Ways to read a blob, the best first; unverified.

        A reader raises RegistryUnavailable when bytes stop coming and ImageError when they cannot come.
        """

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """What speaks of a manifest here."""


class Target(Protocol):
    """Where content goes."""

    def receive(self, descriptor: Descriptor, read: Bytes, source: Source) -> Way:
        """Take a blob; after it returns the blob is there and was verified.

        Raises:
            ImageError: The bytes are not what the descriptor says; nothing is at its final place.
        """

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob is there."""

    def put(self, descriptor: Descriptor, raw: bytes, name: str | None) -> None:
        """Take a manifest or index whose content is there, with a name or by digest alone."""


class Check:
    """Holds bytes to a descriptor while they pass.

    Args:
        descriptor: What they must be.
        where: For messages.
    """

    def __init__(self, descriptor: Descriptor, where: str) -> None:
        self._descriptor = descriptor
        self._where = where
        self._hash = hashlib.sha256()
        self.count = 0

    def feed(self, chunk: bytes) -> bytes:
        """Count and hash; returns the chunk.

        Raises:
            ImageError: More came than may.
        """
        self._hash.update(chunk)
        self.count += len(chunk)
        if self.count > self._descriptor.size:
            raise self._wrong("longer than its descriptor says", str(self._descriptor.size), f"{self.count} or more")
        return chunk

    def finish(self) -> None:
        """Compare at the end.

        Raises:
            ImageError: Too few bytes, or others.
        """
        if self.count != self._descriptor.size:
            raise self._wrong("shorter than its descriptor says", str(self._descriptor.size), str(self.count))
        actual = f"sha256:{self._hash.hexdigest()}"
        if actual != self._descriptor.digest.text:
            raise self._wrong("not what its digest says", self._descriptor.digest.text, actual)

    def _wrong(self, what: str, expected: str, actual: str) -> ImageError:
        return ImageError(
            f"content is {what}",
            where=self._where,
            expected=expected,
            actual=actual,
            advice="Do not use it; ask whoever keeps it",
        )
