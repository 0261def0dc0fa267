"""Checkpoints: the tree's head as a signed note (C2SP signed-note 1.0.0, tlog-checkpoint 1.0.0), Ed25519.

Pure: keys sign through the one-method seam `Signer`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Protocol

from veilbox.core.errors import LogError
from veilbox.core.frozen import frozen

# signed-note, "Signature types": Ed25519.
ED25519 = b"\x01"
# signed-note, "Format": em dash and space.
_DASH = "— ".encode()
# Our own notes have one signature and no extension lines; their origins have at most 100 characters.
MAX_NOTE_BYTES = 512
_NAME = re.compile(r"[!-*,-~]{1,100}", re.ASCII)  # no spaces, no plus
_PRIVATE = "PRIVATE+KEY"


class Signer(Protocol):
    """Whatever signs checkpoints: a key in memory, later perhaps a key in hardware.

    Attributes:
        name: The log's origin, which is also the key's name.
        public: The 32 bytes of the public key (RFC 8032).
    """

    name: str
    public: bytes

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of a message. Deterministic (RFC 8032, 5.1.6)."""


@frozen
class Head:
    """A tree's head.

    Attributes:
        origin: The log's name.
        size: Number of entries.
        root: 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """The note's text (tlog-checkpoint, "Note text")."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()


def check_name(name: str) -> str:
    """A key name that is also an origin, as it is.

    Raises:
        LogError: It is empty, too long, or has spaces, pluses or characters beyond ASCII.
    """
    if not _NAME.fullmatch(name):
        raise LogError("not a name for a log", expected="1 to 100 ASCII characters without space and plus", actual=name)
    return name


def key_id(name: str, public: bytes) -> bytes:
    """The four bytes that name a key in a signature line (signed-note, "Ed25519 signatures")."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def verifier_key(name: str, public: bytes) -> str:
    """The public key as one word, `name+id+key`, as sumdb's note package writes it."""
    return f"{name}+{key_id(name, public).hex()}+{base64.b64encode(ED25519 + public).decode()}"


def signer_key(name: str, public: bytes, seed: bytes) -> str:
    """The private key as one word, as sumdb's note package writes it."""
    return f"{_PRIVATE}+{name}+{key_id(name, public).hex()}+{base64.b64encode(ED25519 + seed).decode()}"


def read_signer_key(text: str) -> tuple[str, bytes, bytes]:
    """Name, key id and 32-byte seed of a private key; whether they belong together is the caller's to check.

    Raises:
        LogError: It is no such key. The message never quotes it.
    """
    match text.strip().removeprefix(f"{_PRIVATE}+").split("+", 2):
        case [name, number, encoded] if text.startswith(_PRIVATE):
            try:
                key, hint = base64.b64decode(encoded, validate=True), bytes.fromhex(number)
            except ValueError:
                key, hint = b"", b""
            if len(key) == 33 and key.startswith(ED25519) and len(hint) == 4:
                return check_name(name), hint, key[1:]
    raise LogError("not a private key", where="audit key", advice="Restore the key file from its backup")


def signed(head: Head, signer: Signer) -> bytes:
    """A checkpoint with its signature line."""
    text = head.text()
    signature = key_id(signer.name, signer.public) + signer.sign(text)
    return text + b"\n" + _DASH + signer.name.encode() + b" " + base64.b64encode(signature) + b"\n"


def last_note(tail: bytes) -> tuple[bytes, bytes]:
    """Cut the end of a file of notes.

    Args:
        tail: Its last bytes: twice `MAX_NOTE_BYTES`, or all of it.

    Returns:
        The last note that has its closing newline, and what follows it. Empty where there is none.
    """
    mark = b"\n\n" + _DASH
    at = len(tail)
    while (at := tail.rfind(mark, 0, at)) >= 0:
        end = tail.find(b"\n", at + len(mark)) + 1
        if end:
            text = tail[: at + 1]
            start = len(text)
            for _ in range(3):  # the text's three lines
                start = text.rfind(b"\n", 0, start - 1) + 1
            return tail[start:end], tail[end:]
    return b"", tail


def read_own(note: bytes, signer: Signer) -> Head:
    """The head of a note that this signer signed.

    Ed25519 is deterministic, so the note is made again and compared: every byte counts.

    Raises:
        LogError: It is not as the signer would write it.
    """
    try:
        origin, size, root = note.partition(b"\n\n")[0].decode("ascii").split("\n")
        head = Head(origin=origin, size=int(size), root=base64.b64decode(root, validate=True))
    except ValueError:
        head = Head(origin="", size=0, root=b"")
    if head.origin != signer.name or signed(head, signer) != note:
        raise LogError(
            "the last checkpoint is not signed by the log's key",
            where="audit log",
            advice="Keep the folder as evidence and run `veilbox audit verify`",
        )
    return head
