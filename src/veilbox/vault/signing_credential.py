"""The credential that C2PA manifests are signed with: a private key and its certificates, in one PEM file.

    <store>/c2pa/credential.pem     the key, the signer's certificate, then those that lead to a root; mode 0600

Made with the first manifest, or put there by who has a certificate that others trust. The key of the root that is made
for it signs one certificate and is thrown away: C2PA takes no certificate that signed itself.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from veilbox.core.errors import OutputError, UsageError

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

# Curves and what COSE calls a signature with them (RFC 9053, 2.1); bytes of each of its two numbers.
_CURVES: dict[str, tuple[str, hashes.HashAlgorithm, int]] = {
    "secp256r1": ("es256", hashes.SHA256(), 32),
    "secp384r1": ("es384", hashes.SHA384(), 48),
    "secp521r1": ("es512", hashes.SHA512(), 66),
}
# RFC 8230, 2: the salt is as long as the digest.
_PS256 = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
# RFC 5280, 4.1.2.5: no date of expiration. Without a time stamp, which needs a network, a manifest would end with it.
_NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
# A key of 4096 bits and a chain of five certificates have 14 kB.
_MOST_BYTES = 64 << 10
_ADVICE = "See docs/how-to/content-credentials.md"


@dataclass(frozen=True, slots=True, repr=False)
class SigningCredential:
    """A key and its certificates.

    Attributes:
        key: Of the first certificate.
        chain: The certificates, PEM.
    """

    key: Key
    chain: str

    @classmethod
    def of(cls, store: Path) -> SigningCredential:
        """The credential of the store at a path; made if there is none.

        Raises:
            OutputError: It cannot be read or written.
            UsageError: What is there is no such credential.
        """
        path = store / "c2pa" / "credential.pem"
        try:
            if not path.exists():
                _write_new(path, _made())
            return cls._read(path)
        except OSError as error:
            raise OutputError(
                "cannot open the C2PA credential", where=str(path), actual=os.strerror(error.errno or 0)
            ) from error

    @classmethod
    def _read(cls, path: Path) -> SigningCredential:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UsageError("others may read the C2PA key", where=str(path), expected="mode 0600", advice=_ADVICE)
            content = file.read(_MOST_BYTES)
        try:
            key = serialization.load_pem_private_key(content, None)
            chain = x509.load_pem_x509_certificates(content)
        except (ValueError, TypeError) as error:
            raise UsageError(
                "not a private key and its certificates, in PEM and without a passphrase",
                where=str(path),
                actual=type(error).__name__,
                advice=_ADVICE,
            ) from error
        if key.public_key() != chain[0].public_key():
            raise UsageError("the first certificate is not the key's", where=str(path), advice=_ADVICE)
        known = isinstance(key, ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) or (
            isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES
        )
        if not known:
            raise UsageError(
                "C2PA has no signatures of such keys",
                where=str(path),
                expected="P-256, P-384, P-521, Ed25519 or RSA",
                advice=_ADVICE,
            )
        return cls(key, "".join(_pem(one) for one in chain))  # type: ignore[arg-type] # which kinds, it was looked at

    @property
    def algorithm(self) -> str:
        """How it signs, in C2PA's words (C2PA 2.2, 13.2)."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return _CURVES[self.key.curve.name][0]
        return "ed25519" if isinstance(self.key, ed25519.Ed25519PrivateKey) else "ps256"

    @property
    def signature_bytes(self) -> int:
        """How long its signatures are."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return 2 * _CURVES[self.key.curve.name][2]
        return 64 if isinstance(self.key, ed25519.Ed25519PrivateKey) else self.key.key_size // 8

    def sign(self, data: bytes) -> bytes:
        """A signature in COSE's form."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(data)
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, _PS256, hashes.SHA256())
        _, digest, width = _CURVES[self.key.curve.name]
        numbers = decode_dss_signature(self.key.sign(data, ec.ECDSA(digest)))
        return b"".join(number.to_bytes(width, "big") for number in numbers)


def _made() -> bytes:
    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = _name("veilbox: a root that signed once"), _name("veilbox")
    certificates = (
        _certificate(subject, issuer, key.public_key(), root, of_a_root=False),
        _certificate(issuer, issuer, root.public_key(), root, of_a_root=True),
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + "".join(map(_pem, certificates)).encode()


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "veilbox"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    of_a_root: bool,
) -> x509.Certificate:
    """A certificate as C2PA 2.2, 14.5.1 "Certificate profile" wants it; it is valid from the beginning of this day."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    builder = (
        x509.CertificateBuilder(issuer_name=issuer, subject_name=subject, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(today)
        .not_valid_after(_NEVER)
        .add_extension(x509.BasicConstraints(ca=of_a_root, path_length=0 if of_a_root else None), critical=True)
        .add_extension(_usage(of_a_root=of_a_root), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if not of_a_root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _usage(*, of_a_root: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not of_a_root,
        key_cert_sign=of_a_root,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _write_new(path: Path, content: bytes) -> None:
    """A file complete under its name or not at all; of several makers the first wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
