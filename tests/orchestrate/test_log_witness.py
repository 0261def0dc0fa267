"""The supervisor believes of the log what it sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from veilbox.audit.merkle import leaf_hash
from veilbox.core.errors import LogError
from veilbox.orchestrate.log_witness import LogWitness, leaf_digest

ONE, OTHER = ('{"a":1}', '{"b":2}'), ('{"c":3}',)


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "0.jsonl"
    path.write_text('{"an":"earlier job"}\n{"a":1}\n{"b":2}\n')
    return path


def wrote(segment: Path, *texts: str) -> None:
    with segment.open("a") as file:
        file.writelines(f"{text}\n" for text in texts)


def test_a_digest_is_the_leaf_of_the_log() -> None:
    assert leaf_digest(ONE[0]) == f"sha256:{leaf_hash(ONE[0].encode()).hex()}"


def test_what_stands_there_is_seen_between_entries_of_other_jobs(segment: Path) -> None:
    witness = LogWitness(segment)
    wrote(segment, "{}", *ONE, "{}", *OTHER)
    witness.see(ONE, leaf_digest(ONE[-1]))
    witness.see(OTHER, leaf_digest(OTHER[-1]))
    witness.see_again()


# What another job, or an earlier append, wrote does not count.
MISSING = {"nothing": (), "a part": ONE[:1], "torn": (ONE[0], "{}", ONE[1]), "the other way round": ONE[::-1]}


@pytest.mark.parametrize("written", MISSING.values(), ids=MISSING)
def test_what_is_not_written_is_missed(segment: Path, written: tuple[str, ...]) -> None:
    witness = LogWitness(segment)
    wrote(segment, *written)
    with pytest.raises(LogError, match="has not written"):
        witness.see(ONE, leaf_digest(ONE[-1]))


def test_one_entry_cannot_vouch_twice(segment: Path) -> None:
    witness = LogWitness(segment)
    wrote(segment, *ONE)
    witness.see(ONE, leaf_digest(ONE[-1]))
    with pytest.raises(LogError, match="has not written"):
        witness.see(ONE, leaf_digest(ONE[-1]))


def test_another_entry_is_not_what_was_sent(segment: Path) -> None:
    witness = LogWitness(segment)
    wrote(segment, *ONE)
    with pytest.raises(LogError, match="another entry"):
        witness.see(ONE, leaf_digest(OTHER[0]))


@pytest.mark.parametrize("spoil", [lambda text: text.replace("2", "3"), lambda text: text[:-3], lambda _: ""])
def test_what_is_changed_or_cut_afterwards_is_found(segment: Path, spoil: object) -> None:
    assert callable(spoil)
    witness = LogWitness(segment)
    wrote(segment, *ONE)
    witness.see(ONE, leaf_digest(ONE[-1]))
    segment.write_text(spoil(segment.read_text()))
    with pytest.raises(LogError, match="lost what it had acknowledged"):
        witness.see_again()
