"""A log of 1,000 entries, changed in every way that a bit or a cut can change it.

Every bit of the last checkpoint, of the tree's ends and of some entries, and one bit, drawn by chance, of
every so many bytes of the rest; `benchmarks/audit_tampering.py` flips every bit and cuts at every length.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from log_workshop import KEY, NAMES, PUBLIC, SEGMENT, line, write_log

from veilbox.audit.checkpoint import Head, signed
from veilbox.audit.merkle import RightEdge, leaf_hash
from veilbox.audit_verifier.folder import verify_folder
from veilbox.audit_verifier.note import open_note
from veilbox.core.errors import LogError, SourceMissing

ENTRIES = 1000
SEED = int(os.environ.get("VEILBOX_SEED", "6"))
# Bytes between two that are drawn; about 4,500 verifications of 4 ms in all.
STEP = 211


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "audit"
    write_log(path, ENTRIES, batch=100)
    return path


def file(root: Path, name: str) -> Path:
    return root / "entries" / SEGMENT if name == "entries" else root / name


def found(root: Path) -> bool:
    """Whether verification finds a fault."""
    try:
        verify_folder(root, PUBLIC)
    except LogError:
        return True
    return False


def flips(name: str, data: bytes) -> Iterator[int]:
    """Bit numbers."""
    rng = random.Random(f"{SEED}-{name}")  # noqa: S311 - chance, not a secret
    yield from (8 * byte + rng.randrange(8) for byte in range(0, len(data), 11 if name == "checkpoints" else STEP))
    if name == "checkpoints":
        yield from range(8 * (len(data) - len(data) // 10), 8 * len(data))
    else:
        edge = 40 if name == "tree" else len(line(0)) + 1
        yield from range(8 * edge)
        yield from range(8 * (len(data) - edge), 8 * len(data))


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_is_found(root: Path, name: str) -> None:
    sys.stdout.write(f"VEILBOX_SEED={SEED}\n")
    path = file(root, name)
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as target:
        for bit in flips(name, data):
            at = bit // 8
            target.seek(at)
            target.write(bytes([data[at] ^ 1 << bit % 8]))
            assert found(root), bit
            target.seek(at)
            target.write(data[at : at + 1])
    assert verify_folder(root, PUBLIC).size == ENTRIES


@pytest.mark.parametrize("name", NAMES)
def test_a_truncation_is_found(root: Path, name: str) -> None:
    """At every byte of the last part, where lines and notes end, and everywhere else in steps."""
    path = file(root, name)
    data = path.read_bytes()
    lengths = {0, *range(0, len(data), 5 * STEP), *range(len(data) - 300, len(data))}
    try:
        for length in sorted(lengths, reverse=True):
            os.truncate(path, length)
            assert found(root), length
    finally:
        path.write_bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_an_addition_is_found(root: Path, name: str) -> None:
    path = file(root, name)
    data = path.read_bytes()
    for more in (b"\0", b"\n", b"x\n", data[-40:]):
        path.write_bytes(data + more)
        assert found(root), more
    path.write_bytes(data)


def test_entries_that_change_places_are_found(root: Path) -> None:
    path = file(root, "entries")
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    lines[10], lines[11] = lines[11], lines[10]
    path.write_bytes(b"".join(lines))
    assert found(root)
    path.write_bytes(data)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    write_log(tmp_path / "audit", 7)
    return tmp_path / "audit"


def forged(count: int, key: object = KEY) -> bytes:
    edge = RightEdge()
    for number in range(count):
        edge.append(leaf_hash(line(number + 1000)))
    return signed(Head(origin=KEY.name, size=count, root=edge.root()), key)  # type: ignore[arg-type]


class TestWhatOnlyAKeptCheckpointShows:
    """Whoever can write every file can bring the log back to an earlier state; the log alone cannot show that."""

    def test_a_log_that_was_brought_back(self, small: Path, tmp_path: Path) -> None:
        kept = open_note(_last_note(small), PUBLIC, "kept")
        write_log(tmp_path / "earlier", 5)
        assert verify_folder(tmp_path / "earlier", PUBLIC).size == 5
        with pytest.raises(LogError, match="shorter than the checkpoint that was kept"):
            verify_folder(tmp_path / "earlier", PUBLIC, known=kept)

    def test_a_log_that_split(self, small: Path) -> None:
        kept = open_note(forged(6), PUBLIC, "kept")
        with pytest.raises(LogError, match="did not grow out of"):
            verify_folder(small, PUBLIC, known=kept)

    def test_the_log_that_it_was_kept_of(self, small: Path) -> None:
        assert verify_folder(small, PUBLIC, known=open_note(_last_note(small), PUBLIC, "kept")).size == 7


def _last_note(root: Path) -> bytes:
    return b"".join((root / "checkpoints").read_bytes().splitlines(keepends=True)[-5:])


def test_a_checkpoint_of_the_size_before_is_refused(small: Path) -> None:
    path = small / "checkpoints"
    path.write_bytes(path.read_bytes() + _last_note(small))
    with pytest.raises(LogError, match="does not grow"):
        verify_folder(small, PUBLIC)


def test_signatures_of_witnesses_are_ignored_in_a_kept_note() -> None:
    note = forged(3)
    witnessed = note + "— witness.example/w AAAAAAAA\n".encode()
    assert open_note(witnessed, PUBLIC, "kept") == open_note(note, PUBLIC, "kept")


# What makes a note worthless -> how it is made.
WORTHLESS = {
    "not UTF-8": lambda note: b"\xff" + note,
    "no signature": lambda note: note.partition(b"\n\n")[0] + b"\n\n",
    "only a stranger's": lambda note: note.partition(b"\n\n")[0] + "\n\n— other AAAAAAAA\n".encode(),
    "other origin": lambda note: note.replace(b"veilbox/audit/test\n", b"veilbox/audit/toast\n", 1),
    "leading zero": lambda note: note.replace(b"\n3\n", b"\n03\n", 1),
    "base64 with loose bits": lambda note: note[:-3] + bytes([note[-3] + 1]) + note[-2:],
    "no end": lambda note: note[:-1],
    "a control character": lambda note: note.replace(b"\n3\n", b"\n3\r\n", 1),
    "too long": lambda note: b"x" * (200 << 10) + note,
}


@pytest.mark.parametrize("change", WORTHLESS.values(), ids=WORTHLESS)
def test_a_worthless_note_is_refused(change: object) -> None:
    with pytest.raises(LogError):
        open_note(change(forged(3)), PUBLIC, "note")  # type: ignore[operator]


def test_no_log_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        verify_folder(tmp_path, PUBLIC)


def test_a_stray_file_among_the_segments_is_found(small: Path) -> None:
    (small / "entries" / "7.jsonl").touch()
    with pytest.raises(LogError, match="no segment"):
        verify_folder(small, PUBLIC)
