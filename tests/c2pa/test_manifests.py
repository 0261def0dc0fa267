"""What a stranger reads in an output, with the reader that the library's makers give away, and with another one."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from claim_workshop import CLAIM, SUFFIXES, claimed, credential, store_in, written
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

import c2pa  # type: ignore[import-untyped]
from veilbox.c2pa.library import write_manifest
from veilbox.c2pa.manifest import definition
from veilbox.c2pa.signing import put_signature, to_be_signed
from veilbox.core.claim import ASSERTION, media_type
from veilbox.core.errors import ComponentError, OutputError, UsageError
from veilbox.vault import signing_credential
from veilbox.vault.signing_credential import SigningCredential

ONCE = claimed(written("jpg"), "jpg")


def read(content: bytes, suffix: str) -> Any:
    """What the library's own reader says; asked for no network."""
    settings = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    with c2pa.Context.from_dict(settings) as context:
        return json.loads(c2pa.Reader(media_type(suffix), io.BytesIO(content), context=context).json())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_stranger_reads_that_it_was_redacted_by_what_and_under_which_entry(suffix: str) -> None:
    told = read(claimed(written(suffix), suffix), suffix)
    assert told["validation_state"] == "Valid"
    assert [one["code"] for one in told["validation_status"]] == ["signingCredential.untrusted"]
    (manifest,) = told["manifests"].values()
    assertions = {one["label"]: one["data"] for one in manifest["assertions"]}
    opened, edited = assertions["c2pa.actions.v2"]["actions"]
    assert (opened["action"], edited["action"]) == ("c2pa.opened", "c2pa.edited")
    assert edited["softwareAgent"] == {"name": "veilbox", "version": "1.2.3"}
    assert edited["description"] == "Redacted: what was found of face, plate is covered (solid)"
    assert assertions[ASSERTION] == {
        "hidden": ["face", "plate"],
        "style": "solid",
        "policy": CLAIM.policy,
        "models": CLAIM.models,
        "audit": {"log": CLAIM.log, "entry": 7, "leaf": CLAIM.leaf, "job": "1234abcd"},
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_of_the_source_and_no_time_is_told(suffix: str) -> None:
    (manifest,) = read(claimed(written(suffix), suffix), suffix)["manifests"].values()
    (ingredient,) = manifest["ingredients"]
    assert ingredient.keys() == {"format", "relationship", "label"}
    assert "time" not in manifest["signature_info"]
    assert not {"title", "thumbnail"} & manifest.keys()
    assert "when" not in json.dumps(manifest["assertions"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_changed_byte_is_found(suffix: str) -> None:
    content = claimed(written(suffix), suffix)
    store = store_in(content)
    marks = {"mp4": b"mdat", "mov": b"mdat", "webp": b"VP8 ", "png": b"IDAT", "jpg": b"\xff\xda"}
    for at in (content.index(marks[suffix]) + 40, content.index(store) + store.index(b"sha256:") + 9):
        changed = bytearray(content)
        changed[at] ^= 1
        try:
            assert read(bytes(changed), suffix)["validation_state"] == "Invalid"
        except c2pa.C2paError as error:
            assert at > content.index(store) or suffix == "png", error  # noqa: PT017 - not the pixels' fault


def test_all_else_stays_as_it_was() -> None:
    for suffix, head, tail in (("jpg", 12, 0), ("png", 8, 4)):
        content, source = claimed(written(suffix), suffix), written(suffix)
        store = store_in(content)
        start = content.index(store)
        assert content[: start - head] + content[start + len(store) + tail :] == source


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("suffix", ["jpg", "png"])  # exiftool 12.57 does not look for it in MP4
def test_another_reader_finds_the_same(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(claimed(written(suffix), suffix))
    command = ["exiftool", "-j", "-G3", "-struct", "-jumbf:all", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert all(word in told for word in (CLAIM.policy, CLAIM.leaf, CLAIM.log, "c2pa.edited"))


# Key -> what C2PA calls its signatures.
KEYS: list[tuple[Callable[[], Any], str]] = [
    (lambda: ec.generate_private_key(ec.SECP384R1()), "es384"),
    (lambda: ec.generate_private_key(ec.SECP521R1()), "es512"),
    (ed25519.Ed25519PrivateKey.generate, "ed25519"),
    (lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048), "ps256"),
]


def brought(key: Any, folder: Path, *, of_a_root: bool = False) -> SigningCredential:
    """A credential as somebody would bring it, of a root of their own."""
    root = ec.generate_private_key(ec.SECP256R1())
    issuer, subject = signing_credential._name("an authority"), signing_credential._name("a newspaper")
    chain = (
        signing_credential._certificate(subject, issuer, key.public_key(), root, of_a_root=of_a_root),
        signing_credential._certificate(issuer, issuer, root.public_key(), root, of_a_root=True),
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "c2pa" / "credential.pem"
    path.parent.mkdir()
    path.touch(0o600)
    path.write_bytes(private + "".join(map(signing_credential._pem, chain)).encode())
    return SigningCredential.of(folder)


@pytest.mark.parametrize(("made", "algorithm"), KEYS)
def test_every_kind_of_key_signs(made: Callable[[], Any], algorithm: str, tmp_path: Path) -> None:
    signer = brought(made(), tmp_path)
    assert signer.algorithm == algorithm
    told = read(claimed(written("jpg"), "jpg", signer), "jpg")
    assert told["validation_state"] == "Valid"
    (manifest,) = told["manifests"].values()
    assert manifest["signature_info"]["common_name"] == "a newspaper"


def test_a_certificate_that_c2pa_does_not_take_is_refused(tmp_path: Path) -> None:
    signer = brought(ec.generate_private_key(ec.SECP256R1()), tmp_path, of_a_root=True)
    with pytest.raises(UsageError, match="certificates"):
        claimed(written("jpg"), "jpg", signer)


def test_a_full_disk_is_the_output_s_fault(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(written("jpg"))
    with (
        (tmp_path / "a.jpg").open("rb") as source,
        Path("/dev/full").open("r+b", buffering=0) as target,
        pytest.raises(OutputError, match="cannot write the output"),
    ):
        write_manifest(
            source.fileno(),
            target.fileno(),
            media_type="image/jpeg",
            definition=definition(CLAIM, "image/jpeg"),
            algorithm="es256",
            chain=credential().chain,
            signature_bytes=64,
        )


def test_what_is_no_picture_gets_no_manifest() -> None:
    with pytest.raises(ComponentError):
        claimed(b"\xff\xd8 no picture", "jpg")


@settings(max_examples=50)
@given(st.data())
def test_a_store_that_is_damaged_is_not_signed_unawares(data: st.DataObject) -> None:
    store = bytearray(store_in(ONCE))
    at = data.draw(st.integers(0, 400))
    store[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    try:
        assert to_be_signed(bytes(store)).startswith(b"\x84\x6aSignature1")
    except ComponentError:
        return


def test_no_room_is_no_place_for_a_signature(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(ONCE)
    fd = os.open(path, os.O_RDWR)
    try:
        for store, length in ((store_in(ONCE), 64), (b"another" + bytes(66), 64)):
            with pytest.raises(ComponentError, match="no room"):
                put_signature(fd, store, b"x" * length)
    finally:
        os.close(fd)
    assert path.read_bytes() == ONCE
