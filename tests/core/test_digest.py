"""A digest is checked once, when it is made."""

from __future__ import annotations

import pytest

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # FIPS 180-4, empty message


def test_the_empty_message() -> None:
    assert str(Digest.of(b"")) == EMPTY
    assert Digest(EMPTY).hex == EMPTY[7:]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        EMPTY.upper(),
        EMPTY + "0",
        EMPTY[:-1],
        "sha512:" + "0" * 64,
        EMPTY[7:],
        EMPTY + "\n",
        "sha256:" + "\u0660" * 64,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="not a digest"):
        Digest(text)
