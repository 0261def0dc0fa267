"""A key is there, whole and for its owner only, or it is gone for good."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from veilbox.core.errors import OutputError, SourceMissing, UsageError, VeilboxError
from veilbox.vault.aes_gcm import encrypt_file, id_in, key_id
from veilbox.vault.keys import KeyFolder


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    return KeyFolder.of(tmp_path)


def test_a_key_is_random_and_its_owner_s_alone(keys: KeyFolder) -> None:
    one, other = keys.create("5f0b83b0-source"), keys.create("5f0b83b0-quarantine")
    assert one != other
    assert len(one) == 32
    assert keys.load("5f0b83b0-source") == one
    assert keys.root.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in keys.root.iterdir()] == [0o600, 0o600]
    assert keys.names() == ["5f0b83b0-quarantine", "5f0b83b0-source"]


def test_a_name_has_one_key(keys: KeyFolder) -> None:
    assert keys.create("a") == keys.create("a")


def test_destroying_the_key_destroys_the_data(keys: KeyFolder) -> None:
    sealed = io.BytesIO()
    encrypt_file(io.BytesIO(b"a face"), sealed, keys.create("a"))
    identity = id_in(sealed.getvalue()[:100])
    assert identity is not None
    (keys.root / "A.key").write_bytes(bytes(32))  # half destroyed, and before it in the order
    assert key_id(keys.find(identity)) == identity
    assert keys.destroy("A")
    assert keys.destroy("a")
    assert not keys.destroy("a")
    with pytest.raises(SourceMissing, match="no key of this machine"):
        keys.find(identity)
    assert list(keys.root.iterdir()) == []


def test_the_bytes_of_a_destroyed_key_are_gone_where_they_were(keys: KeyFolder) -> None:
    keys.create("a")
    with (keys.root / "a.key").open("rb") as file:
        keys.destroy("a")
        assert file.read() == bytes(32)


def _link(keys: KeyFolder) -> None:
    keys.create("a")
    (keys.root / "b.key").symlink_to("a.key")
    keys.load("b")


def _damaged(keys: KeyFolder) -> None:
    keys.create("a")
    (keys.root / "a.key").write_bytes(b"short")
    keys.load("a")


def _half_destroyed(keys: KeyFolder) -> None:
    keys.create("a")
    (keys.root / "a.key").write_bytes(bytes(32))
    keys.load("a")


def _no_folder(keys: KeyFolder) -> None:
    keys.root.write_bytes(b"")
    keys.create("a")


BAD: dict[str, tuple[Callable[[KeyFolder], object], type[VeilboxError]]] = {
    "none": (lambda keys: keys.load("a"), SourceMissing),
    "no age": (lambda keys: keys.made_s("a"), SourceMissing),
    "a path": (lambda keys: keys.create("../a"), UsageError),
    "a hidden name": (lambda keys: keys.load(".a"), UsageError),
    "a link": (_link, SourceMissing),
    "damaged": (_damaged, SourceMissing),
    "killed between overwriting and unlinking": (_half_destroyed, SourceMissing),
    "no folder": (_no_folder, OutputError),
}


@pytest.mark.parametrize(("play", "error"), BAD.values(), ids=BAD)
def test_what_is_no_key_is_refused(
    keys: KeyFolder, play: Callable[[KeyFolder], object], error: type[VeilboxError]
) -> None:
    with pytest.raises(error):
        play(keys)
