"""The one door to Ed25519 for the writer: libsodium through PyNaCl. The verifier uses another library."""

from __future__ import annotations

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from veilbox.audit.checkpoint import check_name, key_id, read_signer_key, signer_key
from veilbox.core.errors import LogError

_SIGNATURE_BYTES = 64


class SigningKey:
    """An Ed25519 key in memory; see `Signer`.

    Args:
        name: The log's origin.
        seed: 32 secret bytes (RFC 8032, 5.1.5).
    """

    def __init__(self, name: str, seed: bytes) -> None:
        self.name = check_name(name)
        self._seed = seed
        self.public, self._secret = crypto_sign_seed_keypair(seed)

    @classmethod
    def read(cls, text: str) -> SigningKey:
        """The key of a key file.

        Raises:
            LogError: It is none, or was damaged.
        """
        name, hint, seed = read_signer_key(text)
        key = cls(name, seed)
        if key_id(name, key.public) != hint:
            raise LogError(
                "the private key is damaged", where="audit key", advice="Restore the key file from its backup"
            )
        return key

    def text(self) -> str:
        """What a key file holds."""
        return signer_key(self.name, self.public, self._seed) + "\n"

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of a message."""
        return crypto_sign(message, self._secret)[:_SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r})"
