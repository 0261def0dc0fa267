"""How a job that fails tells the log, and that telling it never hides what had happened."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import Stage, log_folder, pod_on

from veilbox.core.control import Append, Appended, Heartbeat
from veilbox.core.errors import ComponentDied, Interrupted, SourceCorrupt
from veilbox.core.policy import Policy, Retention, Verdict
from veilbox.orchestrate import audit_trail
from veilbox.orchestrate.audit_trail import AuditTrail
from veilbox.orchestrate.report import Checked, Output
from veilbox.orchestrate.source_digest import SourceDigest

OUTPUT = Output(
    source="in.mp4",
    path="out.mp4",
    digest=f"sha256:{'0f' * 32}",
    bytes=7,
    kind="film",
    frames=2,
    width=64,
    height=48,
    counts={"face": 1},
    covered={"detected": 2},
    lookahead=12,
    audit_index=0,
    source_fate="kept",
    verification=Checked(verdict=Verdict.RELEASE, frames=2, regions=2, searched=1, side=80, findings=(), omitted=0),
)


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def trail(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuditTrail]:
    monkeypatch.setattr(audit_trail, "_LAST_WORD_S", 0.05)
    with pod_on(stage) as pod:
        stage.enter()
        pod.await_ready()
        yield AuditTrail(pod, log_folder(tmp_path), "1234abcd", Policy())


# What ended the job -> what its last entry says.
ENDS = [
    (ComponentDied("gone", where="export"), {"error": "ComponentDied", "component": "export"}),
    (ComponentDied("gone", where="street.mp4"), {"error": "ComponentDied"}),
    (Interrupted("a signal"), {"error": "Interrupted"}),
    (RuntimeError("a secret of the footage"), {"error": "internal"}),
]


@pytest.mark.parametrize(("error", "said"), ENDS)
def test_the_log_is_told_what_ended_the_job(
    stage: Stage, trail: AuditTrail, error: Exception, said: dict[str, str]
) -> None:
    stage["audit"].say(Heartbeat(item=0, frames=0), Appended(index=3, digest="sha256:00"))
    trail.fail(error, released=2)
    ((message, _),) = stage["audit"].hear()
    assert isinstance(message, Append)
    entry = json.loads(message.entries[0])
    assert entry.items() >= {"type": "end", "outcome": "failed", "released": 2, **said}.items()
    assert "secret" not in message.entries[0]
    assert "street" not in message.entries[0]


def test_a_log_that_does_not_answer_is_not_waited_for_long(trail: AuditTrail) -> None:
    trail.fail(Interrupted("a signal"), released=0)


def test_a_dead_log_hides_nothing(stage: Stage, trail: AuditTrail) -> None:
    stage["audit"].die(137)
    trail.fail(ComponentDied("gone", where="audit"), released=0)


@pytest.mark.parametrize(
    ("retention", "kinds"),
    [
        (Retention.KEEP, ["input", "release"]),
        (Retention.DELETE, ["input", "release", "due"]),
        (Retention.ENCRYPT, ["input", "release", "due"]),
    ],
)
def test_a_release_says_that_its_source_is_about_to_go(
    stage: Stage, tmp_path: Path, retention: Retention, kinds: list[str]
) -> None:
    """In one append with it, so that it is durable before the output has a name, and so before anything is deleted."""
    source = tmp_path / "source"
    source.write_bytes(b"footage")
    with pod_on(stage) as pod, source.open("rb") as file:
        stage.enter()
        pod.await_ready()
        policy = Policy(retention=retention)
        AuditTrail(pod, log_folder(tmp_path), "1234abcd", policy).vouch(
            0, OUTPUT, SourceDigest(file.fileno(), "source")
        )
        ((message, _),) = stage["audit"].hear()
    assert isinstance(message, Append)
    entries = [json.loads(entry) for entry in message.entries]
    assert [entry["type"] for entry in entries] == kinds
    assert {entry["digest"] for entry in entries if entry["type"] != "release"} == {
        f"sha256:{hashlib.sha256(b'footage').hexdigest()}"
    }


class TestSourceDigest:
    def test_it_is_that_of_the_file_wherever_its_reader_is(self, tmp_path: Path) -> None:
        path = tmp_path / "source"
        path.write_bytes(b"x" * 3_000_000)
        with path.open("rb", buffering=0) as file:
            file.seek(1000)
            digest = SourceDigest(file.fileno(), "source")
            assert file.tell() == 1000
        assert digest.result() == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        assert digest.size == 3_000_000
        digest.stop()

    def test_a_source_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        fd = os.open(tmp_path, os.O_RDONLY)
        digest = SourceDigest(fd, "street.mp4")
        os.close(fd)
        with pytest.raises(SourceCorrupt, match=r"street\.mp4"):
            digest.result()
