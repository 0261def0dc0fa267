"""What a manifest's signature is made over, and where it goes. Pure but for the file that it goes into.

Sources: JUMBF, ISO/IEC 19566-5, A.2 and A.3; COSE, RFC 9052, 4.2 and 4.4; CBOR, RFC 8949, 3; C2PA 2.2, 13.2.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator

from veilbox.core.errors import ComponentError

_CLAIM, _SIGNATURE = b"c2pa.claim.v2", b"c2pa.signature"
# Length and type of a box; in a description behind them the UUID of its kind, and its toggles.
_HEAD, _KIND = 8, 17
_BYTES, _TEXT = 2, 3
_ARRAY_OF_FOUR, _COSE_SIGN1 = b"\x84", b"\xd2"
_LONGEST_LENGTHS = {24: 1, 25: 2, 26: 4}


def to_be_signed(store: bytes) -> bytes:
    """The Sig_structure of a store's only manifest: context, protected header, no external data, the claim.

    Raises:
        ComponentError: The library has written something else than it says.
    """
    boxes = dict(_boxes(store))
    if len(boxes) != len(list(_boxes(store))) or not {_CLAIM, _SIGNATURE} <= boxes.keys():
        raise ComponentError("not one manifest", where="claim", actual=str(len(boxes)))
    sign1 = boxes[_SIGNATURE].removeprefix(_COSE_SIGN1)
    if not sign1.startswith(_ARRAY_OF_FOUR) or len(sign1) < 2:
        raise ComponentError("not a COSE_Sign1", where="claim")
    return _ARRAY_OF_FOUR + b"".join(
        (
            _head(_TEXT, 10) + b"Signature1",
            _first_item(sign1[1:]),
            _head(_BYTES, 0),
            _head(_BYTES, len(boxes[_CLAIM])) + boxes[_CLAIM],
        )
    )


def put_signature(file: int, store: bytes, signature: bytes) -> None:
    """Write the signature over the zeros at the end of the manifest, and a PNG chunk's checksum behind it anew.

    Args:
        file: Descriptor, readable and writable.
        store: The manifest store as it stands in the file.
        signature: As long as the room for it.

    Raises:
        ComponentError: The store does not stand in the file as one piece, or does not end with room for the signature.
    """
    room = _head(_BYTES, len(signature)) + bytes(len(signature))
    with mmap.mmap(file, 0) as content:
        at = content.find(store)
        if at < 0 or not store.endswith(room):
            raise ComponentError("no room for a signature", where="claim", actual=f"{len(signature)} bytes")
        end = at + len(store)
        content[end - len(signature) : end] = signature
        if content[at - 4 : at] == b"caBX":
            content[end : end + 4] = zlib.crc32(content[at - 4 : end]).to_bytes(4, "big")


def _boxes(store: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Label and content of every box that holds no further ones.

    Raises:
        ComponentError: A box reaches beyond the one around it.
    """
    at = 0
    while at < len(store):
        length = int.from_bytes(store[at : at + 4], "big")
        if not _HEAD < length <= len(store) - at or store[at + 4 : at + _HEAD] != b"jumb":
            raise ComponentError("not a JUMBF box", where="claim")
        box = store[at + _HEAD : at + length]
        described = int.from_bytes(box[:4], "big")
        if not _HEAD + _KIND < described <= len(box):
            raise ComponentError("no description of a JUMBF box", where="claim")
        inner = box[described:]
        if inner[4:_HEAD] == b"jumb":
            yield from _boxes(inner)
        else:
            yield box[_HEAD + _KIND : described].partition(b"\0")[0], inner[_HEAD:]
        at += length


def _head(kind: int, length: int) -> bytes:
    """The first bytes of a CBOR item."""
    if length < 24:
        return bytes([kind << 5 | length])
    code, width = next(one for one in _LONGEST_LENGTHS.items() if length < 1 << 8 * one[1])
    return bytes([kind << 5 | code]) + length.to_bytes(width, "big")


def _first_item(content: bytes) -> bytes:
    """The byte string that some CBOR begins with, its head included."""
    short = content[0] & 31
    width = _LONGEST_LENGTHS.get(short, 0)
    length = int.from_bytes(content[1 : 1 + width], "big") if width else short
    return content[: 1 + width + length]
