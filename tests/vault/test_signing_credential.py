"""The credential of C2PA manifests: made once, taken as it is brought, refused where it is none."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from veilbox.core.errors import OutputError, UsageError
from veilbox.vault.signing_credential import SigningCredential


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the credential lies, and one that was made."""
    SigningCredential.of(tmp_path)
    return tmp_path / "c2pa" / "credential.pem"


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path: Path, path: Path) -> None:
    first = path.read_bytes()
    assert SigningCredential.of(tmp_path).chain.encode() in first
    assert path.read_bytes() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["credential.pem"]


def test_its_signatures_are_its_certificates(tmp_path: Path, path: Path) -> None:
    made = SigningCredential.of(tmp_path)
    leaf, root = x509.load_pem_x509_certificates(path.read_bytes())
    leaf.verify_directly_issued_by(root)
    signature = made.sign(b"claim")
    assert len(signature) == made.signature_bytes == 64
    numbers = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(encode_dss_signature(*numbers), b"claim", ec.ECDSA(hashes.SHA256()))


def test_what_it_says_of_its_maker_is_the_program_and_the_day(path: Path) -> None:
    leaf, root = x509.load_pem_x509_certificates(path.read_bytes())
    assert leaf.subject.rfc4514_string() == "CN=veilbox,O=veilbox"
    for one in (leaf, root):
        begun = one.not_valid_before_utc
        assert (begun.hour, begun.minute, begun.second) == (0, 0, 0)
        assert one.not_valid_after_utc.year == 9999


def test_it_shows_no_key(tmp_path: Path) -> None:
    assert "PRIVATE" not in repr(SigningCredential.of(tmp_path))


def _private(passphrase: bytes = b"") -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    sealed: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        sealed = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)


def _certificates(content: bytes) -> bytes:
    return content[content.index(b"-----BEGIN CERTIFICATE") :]


# What is wrong -> the file, made of a good one, and what is said of it.
BAD: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("empty", lambda _: b"", "not a private key"),
    ("no certificates", lambda good: good[: -len(_certificates(good))], "not a private key"),
    ("no key", _certificates, "not a private key"),
    ("a passphrase", lambda good: _private(b"x") + _certificates(good), "not a private key"),
    ("another key", lambda good: _private() + _certificates(good), "not the key's"),
]


@pytest.mark.parametrize(("made", "said"), [one[1:] for one in BAD], ids=[one[0] for one in BAD])
def test_what_is_no_credential_is_refused(
    tmp_path: Path, path: Path, made: Callable[[bytes], bytes], said: str
) -> None:
    path.write_bytes(made(path.read_bytes()))
    with pytest.raises(UsageError, match=said):
        SigningCredential.of(tmp_path)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path, path: Path) -> None:
    path.chmod(0o640)
    with pytest.raises(UsageError, match="others may read"):
        SigningCredential.of(tmp_path)


def test_a_folder_in_its_place_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "c2pa" / "credential.pem").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot open the C2PA credential"):
        SigningCredential.of(tmp_path)
