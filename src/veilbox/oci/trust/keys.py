"""ECDSA P-256 key pairs in cosign's format, so that either program can use the other's files.

Source: cosign's `pkg/cosign/keys.go` (ECDSA P-256 over SHA-256; PKIX for public keys; PKCS #8 in nacl's secretbox under
a key of scrypt for private ones, measured on files that cosign 2.5 and 3.1 wrote), RFC 5480, RFC 7914.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, UsageError
from veilbox.oci.image.wire import canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

# RFC 5480: SEQUENCE { SEQUENCE { id-ecPublicKey, secp256r1 }, BIT STRING }; the uncompressed point follows. There is
# no second encoding of such a key in DER, so a key file is compared and not parsed.
_SPKI: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_POINT_BYTES: Final = 65

_PUBLIC_LABEL = "PUBLIC KEY"
_PRIVATE_LABEL = "ENCRYPTED SIGSTORE PRIVATE KEY"
_OLD_PRIVATE_LABEL = "ENCRYPTED COSIGN PRIVATE KEY"  # cosign before 2.0
_PEM_COLUMNS = 64
_MAX_PEM_CHARS = 16_384

# What cosign writes (theupdateframework/go-tuf's encrypted package, "standard" in 2023).
_SCRYPT_N: Final = 65_536
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 1
# A key file is foreign input too: 1 GiB is the most that its parameters may cost.
_MAX_SCRYPT_BYTES: Final = 1 << 30
_KEY_BYTES = 32
_SALT_BYTES = 32
_NONCE_BYTES = 24

_PEM = re.compile(
    r"\s*-----BEGIN (?P<label>[A-Z ]+)-----\n(?P<body>[A-Za-z0-9+/=\n]+)-----END (?P=label)-----\s*", re.ASCII
)


class _Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    N: int
    r: int
    p: int


class _Kdf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    params: _Params
    salt: bytes


class _Cipher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    nonce: bytes


class _Encrypted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kdf: _Kdf
    cipher: _Cipher
    ciphertext: bytes


@dataclass(frozen=True)  # no slots: the point is decoded once
class PublicKey:
    """Who may sign.

    Attributes:
        spki: SubjectPublicKeyInfo, DER.
    """

    spki: bytes

    def __post_init__(self) -> None:
        if len(self.spki) != len(_SPKI) + _POINT_BYTES or not self.spki.startswith(_SPKI):
            raise UsageError(
                "not an ECDSA P-256 public key",
                expected="a key of `veilbox image key generate` or `cosign generate-key-pair`",
            )
        _ = self._point

    @classmethod
    def parse(cls, pem: str) -> PublicKey:
        """A public key from its PEM file.

        Raises:
            UsageError: It is none, or of another kind.
        """
        return cls(_unwrapped(pem, (_PUBLIC_LABEL,)))

    @property
    def pem(self) -> str:
        """The PEM file, as cosign and OpenSSL write it."""
        return _wrapped(_PUBLIC_LABEL, self.spki)

    @cached_property
    def key_id(self) -> Digest:
        """The digest of the SubjectPublicKeyInfo; bundles carry the same in base64 as a hint."""
        return Digest.of(self.spki)

    @cached_property
    def _point(self) -> EllipticCurvePublicKey:
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - 20 ms that few commands need

        try:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.spki[len(_SPKI) :])
        except ValueError as error:
            raise UsageError("public key is no point of P-256", actual=str(error)) from error

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key signed a message.

        Args:
            signature: ECDSA over SHA-256, DER.
            message: What was signed.
        """
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

        try:
            self._point.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """Who signs. Never printed: its `repr` has no secret."""

    _key: EllipticCurvePrivateKey

    @classmethod
    def generate(cls) -> PrivateKey:
        """A new key from the system's randomness."""
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def parse(cls, pem: str, passphrase: bytes) -> PrivateKey:
        """A private key from cosign's encrypted PEM file.

        Raises:
            UsageError: The file is no such key, or the passphrase is not its.
        """
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_der_private_key  # noqa: PLC0415

        try:
            key = load_der_private_key(_decrypted(pem, passphrase), password=None)
        except (ValueError, TypeError) as error:
            raise UsageError("private key is damaged", actual=str(error)) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise UsageError("private key is of another kind", expected="ECDSA P-256")
        return cls(key)

    def encrypted(self, passphrase: bytes) -> str:
        """The PEM file that `parse` and cosign read."""
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from nacl.secret import SecretBox  # noqa: PLC0415

        plain = self._key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        params = _Params(N=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
        salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
        sealed = SecretBox(_stretched(passphrase, salt, params)).encrypt(plain, nonce).ciphertext
        document = _Encrypted(
            kdf=_Kdf(name="scrypt", params=params, salt=salt),
            cipher=_Cipher(name="nacl/secretbox", nonce=nonce),
            ciphertext=sealed,
        )
        return _wrapped(_PRIVATE_LABEL, canonical(document))

    @cached_property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

        return PublicKey(
            self._key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256, DER; the nonce is derived (RFC 6979), so no bad randomness can give the key away."""
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

        return self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.key_id})"


def strict_base64(text: str) -> bytes:
    """Decode base64 that is the one encoding of its bytes (RFC 4648, 3.5 and 4).

    Raises:
        ImageError: It is not: a bit of it could be changed without changing what it stands for.
    """
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ImageError("not base64", actual=str(error)) from error
    if base64.b64encode(decoded).decode("ascii") != text:
        raise ImageError("base64 with stray bits", expected="the one encoding of its bytes")
    return decoded


def _decrypted(pem: str, passphrase: bytes) -> bytes:
    from nacl.exceptions import CryptoError  # noqa: PLC0415
    from nacl.secret import SecretBox  # noqa: PLC0415

    try:
        sealed = msgspec.json.decode(_unwrapped(pem, (_PRIVATE_LABEL, _OLD_PRIVATE_LABEL)), type=_Encrypted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError("private key is damaged", actual=str(error)) from error
    if (sealed.kdf.name, sealed.cipher.name) != ("scrypt", "nacl/secretbox"):
        raise UsageError(
            "private key is sealed in another way",
            expected="scrypt and nacl/secretbox",
            actual=f"{sealed.kdf.name} and {sealed.cipher.name}",
        )
    try:
        box = SecretBox(_stretched(passphrase, sealed.kdf.salt, sealed.kdf.params))
        return bytes(box.decrypt(sealed.ciphertext, sealed.cipher.nonce))
    except (CryptoError, ValueError) as error:
        raise UsageError(
            "wrong passphrase, or the private key is damaged", advice="Try the passphrase again"
        ) from error


def _stretched(passphrase: bytes, salt: bytes, params: _Params) -> bytes:
    cost = 128 * params.N * params.r
    if not (0 < cost <= _MAX_SCRYPT_BYTES and 0 < params.p <= 16):
        raise UsageError("private key asks for too much work", expected=f"at most {_MAX_SCRYPT_BYTES} bytes of scrypt")
    return hashlib.scrypt(
        passphrase, salt=salt, n=params.N, r=params.r, p=params.p, dklen=_KEY_BYTES, maxmem=cost + (1 << 26)
    )


def _wrapped(label: str, content: bytes) -> str:
    text = base64.b64encode(content).decode("ascii")
    lines = [text[start : start + _PEM_COLUMNS] for start in range(0, len(text), _PEM_COLUMNS)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def _unwrapped(pem: str, labels: tuple[str, ...]) -> bytes:
    match = _PEM.fullmatch(pem.replace("\r\n", "\n")) if len(pem) <= _MAX_PEM_CHARS else None
    if match is None or match["label"] not in labels:
        raise UsageError("not a key file of that kind", expected=f"-----BEGIN {labels[0]}-----")
    try:
        return strict_base64(match["body"].replace("\n", ""))
    except ImageError as error:
        raise UsageError("key file is damaged", actual=error.what) from error
