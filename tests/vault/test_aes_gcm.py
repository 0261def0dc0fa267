"""What was sealed comes back whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.errors import SourceCorrupt
from veilbox.vault.aes_gcm import CHUNK_BYTES, HEADER_BYTES, KEY_BYTES, decrypt_file, encrypt_file, id_in, key_id

KEY = bytes(range(KEY_BYTES))
SEALED_CHUNK = CHUNK_BYTES + 16


def sealed(plain: bytes, key: bytes = KEY) -> bytes:
    destination = io.BytesIO()
    encrypt_file(io.BytesIO(plain), destination, key)
    return destination.getvalue()


def opened(data: bytes, key: bytes = KEY) -> bytes:
    destination = io.BytesIO()
    decrypt_file(io.BytesIO(data), destination, key)
    return destination.getvalue()


class Drop(io.RawIOBase):
    """A stream that gives a few bytes at a time, as sockets and slow disks do."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(min(size, 1000))


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7]
)
def test_it_comes_back_whatever_its_length(size: int) -> None:
    plain = os.urandom(size)
    data = sealed(plain)
    assert opened(data) == plain
    assert len(data) == HEADER_BYTES + size + 16 * max(1, -(-size // CHUNK_BYTES))


@given(st.binary(max_size=3000), st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
def test_any_content_comes_back_with_any_key(plain: bytes, key: bytes) -> None:
    assert opened(sealed(plain, key), key) == plain


def test_a_stream_that_gives_little_at_a_time_is_read_whole() -> None:
    plain = os.urandom(CHUNK_BYTES + 5)
    destination = io.BytesIO()
    encrypt_file(Drop(plain), destination, KEY)  # type: ignore[arg-type]
    whole = io.BytesIO()
    decrypt_file(Drop(destination.getvalue()), whole, KEY)  # type: ignore[arg-type]
    assert whole.getvalue() == plain


@given(st.data())
def test_a_flipped_bit_is_found(data: st.DataObject) -> None:
    good = sealed(b"a face" * 20)
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SourceCorrupt):
        opened(bytes(bad))


def test_every_truncation_of_a_short_file_is_found() -> None:
    good = sealed(b"a face" * 20)
    for length in range(len(good)):
        with pytest.raises(SourceCorrupt):
            opened(good[:length])


LONG = sealed(bytes(3 * CHUNK_BYTES))
HEAD, CHUNKS = LONG[:HEADER_BYTES], [LONG[HEADER_BYTES:][n * SEALED_CHUNK :][:SEALED_CHUNK] for n in range(3)]
# What somebody who has no key can do with the chunks of a file.
REARRANGED: dict[str, bytes] = {
    "cut between chunks": HEAD + CHUNKS[0] + CHUNKS[1],
    "only the last": HEAD + CHUNKS[2],
    "no chunk": HEAD,
    "swapped": HEAD + CHUNKS[1] + CHUNKS[0] + CHUNKS[2],
    "doubled": HEAD + CHUNKS[0] + CHUNKS[0] + CHUNKS[1] + CHUNKS[2],
    "the last twice": LONG + CHUNKS[2],
    "a byte behind it": LONG + b"\0",
    "of two files": HEAD + CHUNKS[0] + sealed(bytes(3 * CHUNK_BYTES))[HEADER_BYTES + SEALED_CHUNK :],
    "another file's header": sealed(b"")[:HEADER_BYTES] + LONG[HEADER_BYTES:],
}


@pytest.mark.parametrize("data", REARRANGED.values(), ids=REARRANGED)
def test_chunks_that_were_moved_do_not_open(data: bytes) -> None:
    with pytest.raises(SourceCorrupt, match="changed or cut off"):
        opened(data)


REFUSED: dict[str, Callable[[], bytes]] = {
    "another key": lambda: opened(sealed(b"x"), bytes(KEY_BYTES)),
    "no sealed file": lambda: opened(b"\xff\xd8\xff" * 100),
    "nothing": lambda: opened(b""),
}


@pytest.mark.parametrize("play", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_opened_is_said(play: Callable[[], bytes]) -> None:
    with pytest.raises(SourceCorrupt):
        play()


def test_the_same_content_never_looks_the_same() -> None:
    assert sealed(b"x" * 100) != sealed(b"x" * 100)
    assert b"a face" not in sealed(b"a face" * 1000)


def test_a_file_names_its_key_without_telling_it() -> None:
    assert id_in(sealed(b"x")[:HEADER_BYTES]) == key_id(KEY)
    assert id_in(b"PNG") is None
    assert key_id(KEY) not in KEY


def test_a_key_of_another_length_is_no_key() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        sealed(b"x", b"short")
