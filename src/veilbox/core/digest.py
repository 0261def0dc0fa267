"""A content digest that cannot be held unparsed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from veilbox.core.errors import ImageError

# OCI image-spec 1.1.1, descriptor.md "Digests": sha256 is the one algorithm every tool must know.
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, order=True, slots=True)
class Digest:
    """`sha256:` and 64 lower-case hexadecimal digits, checked once.

    Raises:
        ImageError: The text is no such digest.
    """

    text: str

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.text):
            raise ImageError(
                "not a digest",
                expected="sha256: and 64 lower-case hexadecimal digits",
                actual=self.text,
                advice="Give the digest that `veilbox image list` prints",
            )

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The digest of bytes in memory."""
        return cls(f"sha256:{hashlib.sha256(content).hexdigest()}")

    @property
    def hex(self) -> str:
        """The 64 digits alone, as in `blobs/sha256/<hex>` of an image layout."""
        return self.text.removeprefix("sha256:")

    def __str__(self) -> str:
        return self.text
