from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from veilbox.core.errors import ImageError, UsageError
from veilbox.oci.trust import keys
from veilbox.oci.trust.keys import PrivateKey, PublicKey, strict_base64

# Written by `cosign generate-key-pair` 2.5.0 with the passphrase "pw", for these tests alone.
COSIGNS_KEY = """\
-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
OCwicCI6MX0sInNhbHQiOiIyQTk0N3ZOUnRsbEVLdmdrSWZPVHZhTzI1Sy9tSE1C
Q3RYWVFXeGdzSm0wPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
Iiwibm9uY2UiOiJ4dVd0OVcyVUJJM29acW1rMEVZSDdQL1pEZUlpVFU4QyJ9LCJj
aXBoZXJ0ZXh0IjoiV0xGaGt0SENCWE1qaXlTRmc3MlFRYXRzTGw2Sm1JN2xSeXl4
UnpqNEhjdnM0T2RPTVRnYWdZTUI4WVRmSlEzS2x4d1VHM2NOZ3hGeXdmTUdpVXQw
NGdaSjM3cFlhZUpoUkUwREdOWjBxMThXMnlKVXhTVkVQSmIvelNMaElzK1V5akNV
cFBtRWdMNXY3RlJBK1ltZ0lTNTRnOW5oUUlyVStDTnU2aXFHMDR2MVIzVW1jVXBz
dlh4RWxGcjhUcHhTZEc1Y1JTL2QzK1dDdWc9PSJ9
-----END ENCRYPTED SIGSTORE PRIVATE KEY-----
"""
COSIGNS_PUBLIC = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEIlZSns1S5LdU40NmEqmE5Jkthk8F
sRr9z44q3lF2hLZhUeRd8H6XdwPvwUvehff09AMnj5oVPHNqyQFeMoJU6Q==
-----END PUBLIC KEY-----
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealing with cosign's cost takes a quarter of a second; what is tested does not depend on it."""
    monkeypatch.setattr(keys, "_SCRYPT_N", 16)


def test_cosign_s_key_file_is_read() -> None:
    key = PrivateKey.parse(COSIGNS_KEY, b"pw")
    assert key.public == PublicKey.parse(COSIGNS_PUBLIC)
    assert key.public.pem == COSIGNS_PUBLIC


def test_a_key_survives_its_file() -> None:
    key = PrivateKey.generate()
    read = PrivateKey.parse(key.encrypted(b"secret"), b"secret")
    assert read.public == key.public
    assert key.public.verifies(read.sign(b"words"), b"words")
    assert not key.public.verifies(read.sign(b"words"), b"other words")


def test_a_key_file_is_never_the_same_and_names_cosign_s_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    key = PrivateKey.generate()
    assert key.encrypted(b"") != key.encrypted(b"")
    document = json.loads(base64.b64decode("".join(key.encrypted(b"").splitlines()[1:-1])))
    assert document["kdf"]["params"] == {"N": 65536, "r": 8, "p": 1}


def test_the_same_words_give_the_same_signature() -> None:
    key = PrivateKey.generate()
    assert key.sign(b"words") == key.sign(b"words")


def test_a_key_does_not_print_itself() -> None:
    key = PrivateKey.generate()
    assert repr(key) == f"PrivateKey({key.public.key_id})"


def test_a_wrong_passphrase() -> None:
    with pytest.raises(UsageError, match="wrong passphrase"):
        PrivateKey.parse(PrivateKey.generate().encrypted(b"right"), b"wrong")


@settings(max_examples=60, deadline=None)
@given(bit=st.integers(min_value=0))
def test_a_flipped_bit_of_a_key_file_never_gives_another_key(bit: int) -> None:
    text = bytearray(PINNED.encode())
    text[(bit // 8) % len(text)] ^= 1 << (bit % 8)
    try:
        read = PrivateKey.parse(text.decode("latin-1"), b"pw")
    except UsageError:
        return
    assert read.public == PINNED_KEY.public  # a blank more or less at the file's end


def resealed(**changes: Any) -> str:
    document = json.loads(base64.b64decode("".join(PINNED.splitlines()[1:-1])))
    for path, value in changes.items():
        *folders, last = path.split("__")
        place = document
        for folder in folders:
            place = place[folder]
        place[last] = value
    body = base64.b64encode(json.dumps(document).encode()).decode()
    return f"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{body}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a key file"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a key file"),
        (
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
            "damaged",
        ),
        (
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
            "damaged",
        ),
        ("x" * 20_000, "not a key file"),
    ],
)
def test_what_is_no_private_key(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        PrivateKey.parse(text, b"pw")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kdf__name": "pbkdf2"}, "another way"),
        ({"cipher__name": "aes"}, "another way"),
        ({"kdf__params__N": 1 << 30}, "too much work"),
        ({"kdf__params__p": 1 << 20}, "too much work"),
        ({"kdf__params__N": 0}, "too much work"),
        ({"kdf__params__N": 17}, "wrong passphrase, or the private key is damaged"),
        ({"cipher__nonce": "AAAA"}, "damaged"),
    ],
)
def test_key_files_that_ask_for_something_else(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        PrivateKey.parse(resealed(**change), b"pw")


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()], ids=["P-384", "secp256k1"])
def test_other_curves_are_refused(curve: ec.EllipticCurve) -> None:
    pem = (
        ec.generate_private_key(curve)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(UsageError, match="P-256"):
        PublicKey.parse(pem.decode())


def test_a_point_off_the_curve_is_refused() -> None:
    spki = PINNED_KEY.public.spki
    with pytest.raises(UsageError, match="no point"):
        PublicKey(spki[:-1] + bytes([spki[-1] ^ 1]))


@pytest.mark.parametrize("text", ["AB==", "A", "AA", "AAA=\n", " AAA=", "AAAA====", "é"])
def test_base64_has_one_form(text: str) -> None:
    with pytest.raises(ImageError, match="base64"):
        strict_base64(text)


def _pinned() -> tuple[PrivateKey, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_SCRYPT_N", 16)
        key = PrivateKey.generate()
        return key, key.encrypted(b"pw")


PINNED_KEY, PINNED = _pinned()
