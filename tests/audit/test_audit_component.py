"""The component over its control socket: the key is made once, shown to nobody, and jobs share a log."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from job_workshop import talking

from veilbox.audit.entry import JobAccepted, JobEnded, encode_entry
from veilbox.audit_verifier.folder import verify_folder
from veilbox.audit_verifier.note import PublicKey
from veilbox.core.control import (
    Append,
    Appended,
    Faulted,
    Finish,
    FromComponent,
    LogOpened,
    Seal,
    Sealed,
    ToComponent,
)
from veilbox.core.errors import ProtocolError
from veilbox.orchestrate.audit_log import LogFolder, open_log, rotate

NOW = {"job": "1234abcd", "time": "2026-11-24T04:16:00.000Z"}
ACCEPTED = encode_entry(JobAccepted(**NOW, veilbox="1", items=1, skipped=0)).decode()
ENDED = encode_entry(JobEnded(**NOW, outcome="done", released=0, failed=0)).decode()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[LogFolder]:
    with open_log(tmp_path) as folder:
        yield folder


def opened(answer: FromComponent) -> LogOpened:
    assert isinstance(answer, LogOpened), answer
    return answer


def fault(answer: FromComponent) -> str:
    assert isinstance(answer, Faulted), answer
    return str(answer.failure.error("audit"))


def test_the_key_is_made_once_and_readable_by_its_owner_alone(folder: LogFolder) -> None:
    with talking() as talk:
        first = opened(talk.open(folder))
    with talking() as talk:
        second = opened(talk.open(folder))
    assert first.key == second.key
    path = folder.root / "key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith(f"PRIVATE+KEY+{PublicKey.parse(first.key).name}+")
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700


def test_entries_are_appended_sealed_and_verified(folder: LogFolder) -> None:
    with talking() as talk:
        key = opened(talk.open(folder)).key
        assert isinstance(talk.ask(Append(entries=(ACCEPTED,))), Appended)
        appended = talk.ask(Append(entries=(ENDED, ENDED)))
        assert isinstance(appended, Appended)
        assert appended.index == 2
        with folder.attestation("1234abcd") as fd:
            sealed = talk.ask(Seal(), [fd])
        assert isinstance(sealed, Sealed)
        assert (sealed.first, sealed.index, sealed.size, sealed.leaf) == (0, 2, 3, appended.digest)
        talk.control.send(Finish())
    assert not list((folder.root / "attestations").iterdir())  # it released nothing
    assert verify_folder(folder.root, PublicKey.parse(key)).size == 3


def test_two_jobs_share_a_log(folder: LogFolder) -> None:
    with talking() as one, talking() as other:
        key = opened(one.open(folder)).key
        assert opened(other.open(folder)).key == key
        indices = []
        for _ in range(10):
            for talk in (one, other):
                answer = talk.ask(Append(entries=(ACCEPTED,)))
                assert isinstance(answer, Appended)
                indices.append(answer.index)
    assert indices == list(range(20))
    assert verify_folder(folder.root, PublicKey.parse(key)).size == 20


def test_a_key_that_was_taken_away_is_not_replaced(folder: LogFolder) -> None:
    with talking() as talk:
        opened(talk.open(folder))
        talk.ask(Append(entries=(ACCEPTED,)))
    (folder.root / "key").unlink()
    with talking() as talk:
        assert "private key is missing" in fault(talk.open(folder))


def test_a_key_that_a_crash_cut_short_signed_nothing_and_is_made_anew(folder: LogFolder) -> None:
    (folder.root / "key").write_text("PRIVATE+KEY+veilb")
    with talking() as talk:
        opened(talk.open(folder))
    assert (folder.root / "key").read_text().count("PRIVATE") == 1


@pytest.mark.parametrize(
    "text", ["PRIVATE+KEY+a+00000000+AAAA\n", "nonsense\n", "PRIVATE+KEY+a+00000000+AQ" + "A" * 41 + "=\n"]
)
def test_a_damaged_key_is_refused_and_not_quoted(folder: LogFolder, text: str) -> None:
    (folder.root / "key").write_text(text)
    with talking() as talk:
        said = fault(talk.open(folder))
    assert "AQA" not in said
    assert "key" in said


@pytest.mark.parametrize("message", [Append(entries=(ACCEPTED,)), Seal()], ids=lambda message: type(message).__name__)
def test_nothing_goes_before_the_log_is_open(message: ToComponent) -> None:
    with talking() as talk:
        fds = [os.open(os.devnull, os.O_RDWR)] if isinstance(message, Seal) else []
        assert "not what audit takes now" in fault(talk.ask(message, fds))
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("text", ["{}", "", '{"pixels":"AAAA","type":"job"}'])
def test_what_is_no_entry_ends_the_job_and_leaves_the_log(folder: LogFolder, text: str) -> None:
    with talking() as talk:
        opened(talk.open(folder))
        answer = talk.ask(Append(entries=(ACCEPTED, text)))
        assert isinstance(answer, Faulted)
        assert answer.failure.kind == ProtocolError.__name__
    assert (folder.root / "checkpoints").stat().st_size == 0


def test_a_new_segment_waits_for_no_job_and_goes_on(tmp_path: Path) -> None:
    with open_log(tmp_path) as folder:
        with talking() as talk:
            key = opened(talk.open(folder)).key
            talk.ask(Append(entries=(ACCEPTED, ACCEPTED)))
        with pytest.raises(Exception, match="a job writes the audit log"):
            rotate(folder.root)
    assert rotate(folder.root).name == f"{2:020d}.jsonl"
    with open_log(tmp_path) as folder, talking() as talk:
        assert opened(talk.open(folder)).size == 2
        talk.ask(Append(entries=(ENDED,)))
    assert verify_folder(folder.root, PublicKey.parse(key)).size == 3


def test_a_full_segment_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veilbox.orchestrate.audit_log.SEGMENT_BYTES", 100)
    for _ in range(3):
        with open_log(tmp_path) as folder, talking() as talk:
            key = opened(talk.open(folder)).key
            talk.ask(Append(entries=(ACCEPTED,)))
    assert len(list((folder.root / "entries").iterdir())) == 3
    assert verify_folder(folder.root, PublicKey.parse(key)).size == 3


def test_another_public_key_than_before_is_refused(folder: LogFolder) -> None:
    folder.publish("veilbox/a+00000000+AQ==")
    folder.publish("veilbox/a+00000000+AQ==")
    with pytest.raises(Exception, match="another key"):
        folder.publish("veilbox/b+00000000+AQ==")


def test_a_log_that_is_not_as_it_was_signed_takes_no_job(folder: LogFolder) -> None:
    with talking() as talk:
        opened(talk.open(folder))
        talk.ask(Append(entries=(ACCEPTED,)))
    (folder.root / "tree").write_bytes(b"")
    with talking() as talk:
        assert "too short" in fault(talk.open(folder))
