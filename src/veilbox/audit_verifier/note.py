"""Signed notes and checkpoints as C2SP's signed-note 1.0.0 and tlog-checkpoint 1.0.0 tell a verifier to read them."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from veilbox.core.errors import LogError, UsageError

_ED25519 = 1
_DASH = "— "
# A note with sixteen of the longest signatures that the specification foresees is below this.
MAX_NOTE_BYTES = 128 << 10
_KEY = re.compile(r"(?P<name>[^\s+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]+)")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicKey:
    """An Ed25519 key with its name.

    Attributes:
        name: Also the origin of the log.
        identity: The four bytes before each of its signatures.
        key: To verify with.
        text: `name+id+key`.
    """

    name: str
    identity: bytes
    key: Ed25519PublicKey
    text: str

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """The key of one word, `name+id+base64(0x01 || key)`, the form of sumdb's note package.

        Raises:
            UsageError: It is none.
        """
        match = _KEY.fullmatch(text.strip())
        raw = unbase64(match["key"]) if match else None
        if match is None or raw is None or len(raw) != 33 or raw[0] != _ED25519:
            raise UsageError("not a public key of a log", where="--key", expected="name+id+key, as in key.pub")
        name = match["name"]
        # signed-note, "Ed25519 signatures": SHA-256(key name || 0x0A || 0x01 || public key)[:4]
        identity = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
        if identity.hex() != match["id"]:
            raise UsageError("a public key whose parts do not belong together", where="--key", actual=match["id"])
        return cls(name=name, identity=identity, key=Ed25519PublicKey.from_public_bytes(raw[1:]), text=text.strip())

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether this key made a signature."""
        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A tree's head that the log's key signed.

    Attributes:
        size: Entries.
        root: 32 bytes.
    """

    size: int
    root: bytes


def unbase64(text: str) -> bytes | None:
    """RFC 4648, section 4, and nothing that decodes to the same but is written otherwise; None for anything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data).decode() == text else None


def open_note(note: bytes, key: PublicKey, where: str) -> Checkpoint:
    """The checkpoint of a signed note.

    Args:
        note: Text, empty line, signature lines.
        key: The log's; signatures of others are ignored.
        where: What the error calls it.

    Raises:
        LogError: It is no note, no checkpoint of this log, or not signed by the key.
    """
    text, signatures = _split(note, where)
    verified = False
    for name, signature in signatures:
        if name == key.name and signature[:4] == key.identity:
            if not key.signed(text, signature[4:]):
                raise LogError("a checkpoint whose signature does not hold", where=where)
            verified = True
    if not verified:
        raise LogError("a checkpoint that the log's key did not sign", where=where, expected=key.name)
    return _checkpoint(text.decode(), key, where)


def _split(note: bytes, where: str) -> tuple[bytes, list[tuple[str, bytes]]]:
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LogError("not a signed note", where=where) from error
    text, separator, rest = whole.rpartition("\n\n")
    if len(note) > MAX_NOTE_BYTES or not separator or not rest.endswith("\n") or not _printable(whole):
        raise LogError("not a signed note", where=where)
    return f"{text}\n".encode(), [_signature(line, where) for line in rest[:-1].split("\n")]


def _printable(text: str) -> bool:
    return all(character >= " " or character == "\n" for character in text)


def _signature(line: str, where: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    signature = unbase64(encoded)
    if not line.startswith(_DASH) or not name or signature is None or len(signature) < 5:
        raise LogError("not a signature line", where=where)
    return name, signature


def _checkpoint(text: str, key: PublicKey, where: str) -> Checkpoint:
    lines = text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise LogError("not a checkpoint", where=where, expected="three lines: origin, size, root")
    root = unbase64(lines[2])
    if lines[0] != key.name:
        raise LogError("a checkpoint of another log", where=where, expected=key.name, actual=lines[0])
    if not _SIZE.fullmatch(lines[1]) or root is None or len(root) != 32:
        raise LogError("not a checkpoint", where=where, expected="three lines: origin, size, root")
    return Checkpoint(size=int(lines[1]), root=root)
