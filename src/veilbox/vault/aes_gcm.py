"""Files sealed with AES-256-GCM, chunk by chunk, so that a file of any size needs the memory of one chunk.

    magic (27 bytes)   key id (16)   salt (32)   chunk 0   chunk 1   ...   last chunk

Each chunk is 64 KiB of plaintext (the last one shorter, or empty in an empty file) and a tag of 16 bytes. The nonce of
chunk i is i as 11 bytes big-endian and one byte that is 1 for the last chunk, else 0: the STREAM construction of Hoang,
Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance" (CRYPTO 2015),
section 7, with the layout of nonces that age v1 uses. A chunk that is changed, missing, doubled or moved, and a file
that is cut anywhere, do not open. Every file has an encryption key of its own, derived (HKDF-SHA-256, RFC 5869) from
the key and the file's random salt, so that counters never meet under one key.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from veilbox.core.errors import SourceCorrupt

KEY_BYTES = 32
# As large as age's: at 64 KiB the tags cost 0.02 % and a chunk fits every cache.
CHUNK_BYTES = 64 << 10
_TAG_BYTES = 16
_SALT_BYTES = 32
_ID_BYTES = 16
MAGIC = b"veilbox/aes-256-gcm/stream\n"
HEADER_BYTES = len(MAGIC) + _ID_BYTES + _SALT_BYTES


def key_id(key: bytes) -> bytes:
    """16 bytes by which a file names its key; they tell nothing of it."""
    return HKDF(algorithm=SHA256(), length=_ID_BYTES, salt=None, info=b"veilbox key id").derive(_checked(key))


def id_in(header: bytes) -> bytes | None:
    """The key id in the first `HEADER_BYTES` bytes of a file; None if it is no sealed file."""
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        return None
    return header[len(MAGIC) :][:_ID_BYTES]


def encrypt_file(source: BinaryIO, destination: BinaryIO, key: bytes) -> None:
    """Seal everything that a stream still holds.

    Args:
        source: Read to its end.
        destination: Written from where it stands; bringing it to stable storage is the caller's.
        key: 32 random bytes.

    Raises:
        ValueError: The key has another length.
    """
    header = MAGIC + key_id(key) + os.urandom(_SALT_BYTES)
    destination.write(header)
    cipher = _cipher(key, header)
    destination.writelines(cipher.encrypt(nonce, chunk, None) for nonce, chunk in _numbered(source, CHUNK_BYTES))


def decrypt_file(source: BinaryIO, destination: BinaryIO, key: bytes) -> None:
    """Open what `encrypt_file` sealed.

    Each chunk is written once it is proved genuine, but that the file is whole is known at its end only: throw away
    what was written if this raises.

    Args:
        source: Read to its end.
        destination: Written from where it stands.
        key: The one that it was sealed with.

    Raises:
        SourceCorrupt: It is no sealed file, another key sealed it, or a bit of it is changed or missing.
        ValueError: The key has a length that no key has.
    """
    header = source.read(HEADER_BYTES)
    named = id_in(header)
    if named is None:
        raise SourceCorrupt("not a file that veilbox encrypted", expected=f"a header of {HEADER_BYTES} bytes")
    if not hmac.compare_digest(named, key_id(key)):
        raise SourceCorrupt("encrypted with another key", expected=named.hex(), actual=key_id(key).hex())
    cipher = _cipher(key, header)
    for number, (nonce, chunk) in enumerate(_numbered(source, CHUNK_BYTES + _TAG_BYTES)):
        if number and len(chunk) <= _TAG_BYTES:
            raise _changed()  # a whole chunk was the last already: nobody seals an empty one behind it
        try:
            destination.write(cipher.decrypt(nonce, chunk, None))
        except InvalidTag as error:
            raise _changed() from error


def _changed() -> SourceCorrupt:
    return SourceCorrupt("the encrypted file was changed or cut off", advice="Restore it from a backup")


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of {KEY_BYTES} bytes, got {len(key)}")
    return key


def _cipher(key: bytes, header: bytes) -> AESGCM:
    """Salt, key id and magic are all bound to the file's own key: a header that was changed opens nothing."""
    derive = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=header[-_SALT_BYTES:], info=header[:-_SALT_BYTES])
    return AESGCM(derive.derive(_checked(key)))


def _numbered(stream: BinaryIO, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Every chunk with its nonce; one chunk is read ahead, to know the last."""
    number, chunk = 0, _filled(stream, size)
    while True:
        following = _filled(stream, size) if len(chunk) == size else b""
        yield number.to_bytes(11, "big") + (b"\0" if following else b"\1"), chunk
        if not following:
            return
        number, chunk = number + 1, following


def _filled(stream: BinaryIO, size: int) -> bytes:
    """So many bytes, or fewer at the stream's end: an unbuffered stream may give less at a time."""
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
