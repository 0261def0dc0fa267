"""A file gets its name after every witness and the log have spoken, or never.

Every hostile play runs where outputs have hidden names, so that one left behind would be seen.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stage import PROGRAMS, Clock, Stage, clock, log_folder, pod_on, segment

from veilbox.audit.entry import Deleted, Notice
from veilbox.core.claim import Claim
from veilbox.core.control import (
    Append,
    Appended,
    Claimed,
    Faulted,
    Finish,
    Finished,
    FromComponent,
    ItemDone,
    ItemFailed,
    ItemStarted,
    OpenClaim,
    OpenItem,
    OpenOutput,
    Signature,
    ToSign,
    Verified,
)
from veilbox.core.errors import (
    ComponentDied,
    ComponentHung,
    Failure,
    Interrupted,
    LogError,
    OutputError,
    ProtocolError,
    SourceCorrupt,
    UsageError,
    VeilboxError,
)
from veilbox.core.exposure import Exposure, TrackExposure
from veilbox.core.findings import Finding, FindingKind
from veilbox.core.job import Item, Job
from veilbox.core.policy import Policy, Retention, Verdict, Verification
from veilbox.core.stream import Kind
from veilbox.orchestrate import release, staging
from veilbox.orchestrate.audit_trail import AuditTrail
from veilbox.orchestrate.claims import Claims, check_formats
from veilbox.orchestrate.log_witness import leaf_digest
from veilbox.orchestrate.plan import anonymize_plan
from veilbox.orchestrate.progress import Silent
from veilbox.orchestrate.quarantine import Quarantine
from veilbox.orchestrate.release import AnonymizeRun
from veilbox.orchestrate.retention import SourceRetention
from veilbox.vault.aes_gcm import decrypt_file
from veilbox.vault.keys import KeyFolder
from veilbox.vault.signing_credential import SigningCredential

__all__ = ["clock"]

DETECT = "detect-centerface"
POLICY = Policy(deadline_s=2)
FAILED = Failure(kind="OutputError", what="disk full")
CLAIMING = Policy(deadline_s=2, c2pa=True)
CLAIM = Claim(veilbox="1", hidden=("face",), style="solid", policy="", job="0", log="", entry=0, leaf="")


def started(item: int) -> ItemStarted:
    return ItemStarted(item=item, first_sequence=0, kind=Kind.FILM, width=64, height=48, frames=2, rotation=0)


def done(item: int, frames: int = 2) -> ItemDone:
    return ItemDone(item=item, frames=frames)


class Director(Silent):
    """Plays one step of a script each time the supervisor tells how far it is."""

    def __init__(self, stage: Stage, script: Iterator[None]) -> None:
        self._stage = stage
        self._script = script

    def advance(self, index: int, frames: int) -> None:
        del index, frames
        next(self._script, None)
        self._stage.beat()


class Play:
    """The honest parts of the components, for scripts to put together."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.folder = folder
        self.held: list[int] = []
        self.entries: list[str] = []
        self.trails: list[AuditTrail] = []
        self.retention = Retention.KEEP
        # What verify must be handed.
        self.content = b"clean"
        # What the source's folder must hold whenever the log is told of a release.
        self.source = folder.parent / "source.mp4"
        self.log_root = folder.parent / "log"

    def write(self) -> None:
        """Export takes every output it was handed, writes and closes it."""
        for message, fds in self.stage["export"].hear():
            assert isinstance(message, OpenItem)
            for fd in fds:
                os.write(fd, b"clean")
                os.close(fd)

    def witness(self, item: int = 0, *but: str) -> None:
        """All who handle frames say that they are done."""
        if "ingest" not in but:
            self.stage["ingest"].say(started(item), done(item))
        for name in (DETECT, "anonymize", "export"):
            if name not in but:
                self.stage[name].say(done(item))

    def look(self, *findings: Finding) -> Iterator[None]:
        """Verify is handed an output that nobody can write any more, and says what it found."""
        while not (heard := self.stage["verify"].hear()):
            yield
        for message, fds in heard:
            assert isinstance(message, OpenOutput)
            (fd,) = fds
            assert os.read(fd, 99) == self.content
            assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
            os.close(fd)
            self.stage["verify"].say(_seen(*findings, item=message.item))

    def log(self) -> Iterator[None]:
        """Verify finds nothing, and the log vouches."""
        yield from self.look()
        yield from self.append()

    def append(self) -> Iterator[None]:
        """Audit waits for an entry and makes it durable."""
        while not (heard := self.stage["audit"].hear()):
            yield
        for message, _ in heard:
            assert isinstance(message, Append)
            assert [path.name for path in self.folder.iterdir() if not path.name.startswith(".")] == []
            assert self.source.read_bytes() == b"raw"
            self.entries.extend(message.entries)
            with segment(self.log_root).open("a", encoding="utf-8") as file:
                file.writelines(f"{entry}\n" for entry in message.entries)
            self.stage["audit"].say(_appended(message.entries))

    def forget(self, *instead: str) -> Iterator[None]:
        """Audit acknowledges an entry, or another one, and writes nothing."""
        self.write()
        self.witness()
        yield from self.look()
        while not (heard := self.stage["audit"].hear()):
            yield
        ((message, _),) = heard
        assert isinstance(message, Append)
        self.stage["audit"].say(_appended(instead or message.entries))
        yield

    def honest(self) -> Iterator[None]:
        """A job as it should be."""
        self.write()
        self.witness()
        yield from self.log()

    def say(self, name: str, *messages: FromComponent) -> Iterator[None]:
        """One component says what it should not, after an honest start."""
        self.write()
        self.stage[name].say(*messages)
        yield

    def counted(self, **words: Any) -> Iterator[None]:
        """All are done, and anonymize tells what it counted."""
        self.write()
        self.witness(0, "anonymize")
        self.stage["anonymize"].say(replace(done(0), **words))
        yield

    def witness_and_say(self, name: str, *messages: FromComponent) -> Iterator[None]:
        """Likewise, after all were done."""
        self.write()
        self.witness()
        yield
        self.stage[name].say(*messages)
        yield

    def keep_open(self) -> Iterator[None]:
        """Export says that it is done, and could go on writing."""
        for _, fds in self.stage["export"].hear():
            self.held.extend(fds)
        self.witness()
        yield

    def die(self, name: str) -> Iterator[None]:
        """A component dies when all but the log have spoken."""
        self.write()
        self.witness()
        yield
        self.stage[name].die(137)
        yield

    def disagree(self) -> Iterator[None]:
        """Export encoded one frame less than ingest decoded."""
        self.write()
        self.witness(0, "export")
        self.stage["export"].say(done(0, frames=1))
        yield

    def take_name(self) -> Iterator[None]:
        """Somebody else makes a file of that name meanwhile."""
        self.write()
        self.witness()
        yield
        yield from self.log()
        (self.folder / "out0.mp4").write_bytes(b"mine")

    def reported(self) -> list[ItemDone]:
        """For a histogram that no histogram packs to."""
        return [ItemDone(item=0, frames=2, latency_us=((-1, 1),))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where outputs go; a file system without unnamed files."""

    def refuse(folder: Path) -> int:
        raise OSError(95, "Operation not supported", str(folder))

    monkeypatch.setattr(staging, "_unnamed", refuse)
    path = tmp_path / "out"
    path.mkdir()
    return path


@pytest.fixture
def play(folder: Path, clock: Clock) -> Iterator[Play]:
    del clock
    play = Play(Stage(), folder)
    yield play
    for fd in play.held:
        os.close(fd)
    assert play.stage.stopped == 1


def run(
    play: Play, script: Iterator[None], *, items: int = 1, collected: bool = False, policy: Policy = POLICY
) -> AnonymizeRun:
    """Run a job of some items with a script."""
    source = play.folder.parent / "source.mp4"
    source.write_bytes(b"raw")
    parts = [
        Item(source=source, output=play.folder / f"out{number}.mp4", name=f"in{number}") for number in range(items)
    ]
    job = Job(items=tuple(parts), policy=policy, folder=collected)
    with pod_on(play.stage, policy) as pod:
        play.stage.enter()
        pod.await_ready()
        trail = AuditTrail(pod, log_folder(play.log_root), "0", policy)
        play.trails.append(trail)
        retention = SourceRetention(play.retention, play.folder.parent / "store", "0", trail)
        quarantine = Quarantine(play.folder.parent / "store", "0")
        plan = anonymize_plan(policy, PROGRAMS, cpus=2)
        claims = Claims(pod, SigningCredential.of(play.folder.parent), CLAIM) if policy.c2pa else None
        ran = AnonymizeRun(job, pod, trail, Director(play.stage, script), plan, retention, quarantine, claims)
        ran.run()
        for name, actor in play.stage.actors.items():
            if actor.status is None:
                play.stage[name].say(Finished())
        pod.finish()
    return ran


def names(play: Play) -> list[str]:
    return sorted(path.name for path in play.folder.iterdir())


def test_what_all_vouch_for_is_released(play: Play) -> None:
    ran = run(play, play.honest())
    assert (play.folder / "out0.mp4").read_bytes() == b"clean"
    assert names(play) == ["out0.mp4"]
    assert [output.frames for output in ran.outputs] == [2]
    source, released = (json.loads(entry) for entry in play.entries)
    assert source["digest"] == released["input"] == f"sha256:{hashlib.sha256(b'raw').hexdigest()}"
    assert released["digest"] == ran.outputs[0].digest
    assert ran.outputs[0].audit_index == 7
    assert "out0" not in "".join(play.entries)


@pytest.mark.parametrize("retention", Retention)
def test_a_source_goes_after_its_release_and_the_log_is_told(play: Play, retention: Retention) -> None:
    play.retention = retention
    ran = run(play, play.honest())
    stays = retention is Retention.KEEP
    assert play.source.exists() is stays
    assert (play.folder / "out0.mp4").read_bytes() == b"clean"
    fate = {"keep": "kept", "delete": "deleted", "encrypt": "encrypted"}[retention]
    assert [output.source_fate for output in ran.outputs] == [fate]
    unsaid = [type(entry) for entry in play.trails[0]._unsaid]
    assert unsaid == {"keep": [], "delete": [Deleted], "encrypt": [Deleted, Notice]}[retention]


NOT_WHOLE = "verify: an output that was not looked at as a whole"
# Play -> the error that ends the job, and what its message says.
HOSTILE: list[tuple[str, Callable[[Play], Iterator[None]], type[VeilboxError], str]] = [
    ("frames are missing", Play.disagree, ProtocolError, "disagree about the number of frames"),
    ("the output stays open", Play.keep_open, ProtocolError, "export: the output is still open"),
    ("never started", lambda play: play.say("ingest", done(0)), ComponentHung, "no component made progress"),
    ("done twice", lambda play: play.say("export", done(0), done(0)), ProtocolError, "export: an item done twice"),
    ("started twice", lambda play: play.say("ingest", *[started(0)] * 2), ProtocolError, "ingest: an item started twi"),
    ("started, not opened", lambda play: play.say("ingest", started(9)), ProtocolError, "ingest: an item that was not"),
    ("started by another", lambda play: play.say("export", started(0)), ProtocolError, "export: unexpected message"),
    (
        "failed by another",
        lambda play: play.say("anonymize", _failed()),
        ProtocolError,
        "anonymize: unexpec",
    ),
    ("failed after it was done", lambda play: play.say("export", done(0), _failed()), ProtocolError, "failed after it"),
    ("failed while vouched for", lambda play: play.witness_and_say("export", _failed()), ProtocolError, "failed after"),
    ("vouched for by export", lambda play: play.witness_and_say("export", _entry()), ProtocolError, "export: unexpec"),
    ("vouched for too early", lambda play: play.say("audit", _entry()), ProtocolError, "audit: an entry that was not"),
    ("looked at by export", lambda play: play.witness_and_say("export", _seen()), ProtocolError, "export: unexpec"),
    ("looked at too early", lambda play: play.say("verify", _seen()), ProtocolError, "verify: an output that it was"),
    ("looked at twice", lambda play: play.witness_and_say("verify", _seen(), _seen()), ProtocolError, "verify: an ou"),
    ("a frame not decoded", lambda play: play.witness_and_say("verify", _half(frames=1)), ProtocolError, NOT_WHOLE),
    ("a region not seen", lambda play: play.witness_and_say("verify", _half(regions=-1)), ProtocolError, NOT_WHOLE),
    ("no second look", lambda play: play.witness_and_say("verify", _half(searched=0)), ProtocolError, NOT_WHOLE),
    ("an entry not written", lambda play: play.forget(), LogError, "audit: audit acknowledges what it has not"),
    ("another entry", lambda play: play.forget("other"), LogError, "audit: audit acknowledges another entry"),
    ("verify dies", lambda play: play.die("verify"), ComponentDied, "verify: ended"),
    ("no histogram", lambda play: play.say("export", *play.reported()), ProtocolError, "histogram"),
    (
        "a class that nobody detects",
        lambda play: play.counted(counts={"B-XY 1234": 1}),
        ProtocolError,
        "anonymize: statistics with unknown words",
    ),
    (
        "a track of a class that nobody detects",
        lambda play: play.counted(exposure=Exposure(weakest=(_track("B-XY 1234"),))),
        ProtocolError,
        "anonymize: statistics with unknown words",
    ),
    (
        "the log is full",
        lambda play: play.witness_and_say("audit", Faulted(failure=FAILED)),
        OutputError,
        "audit: disk",
    ),
    ("audit dies", lambda play: play.die("audit"), ComponentDied, "audit: ended"),
    ("export dies", lambda play: play.die("export"), ComponentDied, "export: ended"),
    ("the disk is full", lambda play: play.say("export", _failed()), OutputError, "out0.mp4: disk full"),
    ("the source is bad", lambda play: play.say("ingest", _failed("SourceCorrupt")), SourceCorrupt, "in0: disk full"),
]


def _failed(kind: str = "OutputError") -> ItemFailed:
    return ItemFailed(item=0, failure=Failure(kind=kind, what="disk full"))


def _seen(*findings: Finding, item: int = 0) -> Verified:
    return Verified(item=item, frames=2, regions=0, searched=1, side=960, findings=findings)


def _half(*, frames: int = 2, regions: int = 0, searched: int = 1) -> Verified:
    return replace(_seen(), frames=frames, regions=regions, searched=searched)


def _appended(entries: Sequence[str]) -> Appended:
    return Appended(index=7, digest=leaf_digest(entries[-1]))


def _track(label: str) -> TrackExposure:
    numbers = dict.fromkeys(
        ("track", "first", "last", "detected", "interpolated", "ahead", "behind", "gaps", "longest_gap"), 0
    )
    return TrackExposure(label=label, best=0.5, weakest=0.5, **numbers)


def _entry() -> Appended:
    return Appended(index=0, digest="sha256:00")


@pytest.mark.parametrize(("script", "error", "text"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_nothing_is_released(
    play: Play, script: Callable[[Play], Iterator[None]], error: type[VeilboxError], text: str
) -> None:
    play.retention = Retention.DELETE
    with pytest.raises(error, match=text):
        run(play, script(play))
    assert names(play) == []
    assert play.source.read_bytes() == b"raw"


MAKERS = ("ingest", DETECT, "anonymize", "export")


class TestMakersLeave:
    """Who makes outputs ends with the last one's last frame, while verify looks."""

    def test_before_the_output_is_released(self, play: Play) -> None:
        def script() -> Iterator[None]:
            play.write()
            play.witness()
            while not all(isinstance(heard, Finish) for name in MAKERS for heard, _ in play.stage[name].hear()[-1:]):
                yield
            for name in MAKERS:
                assert not any(play.stage.played[one].ended for one in MAKERS)
                play.stage[name].say(Finished())
            yield
            yield
            assert {name for name, one in play.stage.played.items() if one.ended} == {*MAKERS}
            assert not (play.folder / "out0.mp4").exists()
            yield from play.log()

        assert len(run(play, script()).outputs) == 1

    def test_not_while_another_item_waits(self, play: Play) -> None:
        def script() -> Iterator[None]:
            play.write()
            play.witness(0)
            for _ in range(5):
                yield
            assert not any(isinstance(heard, Finish) for heard, _ in play.stage["ingest"].hear())
            play.stage["ingest"].die(137)
            yield

        with pytest.raises(ComponentDied, match="ingest"):
            run(play, script(), items=2)

    def test_not_if_frames_of_a_failed_output_are_on_their_way(self, play: Play) -> None:
        def script() -> Iterator[None]:
            play.write()
            play.stage["export"].say(_failed())
            yield
            play.witness(1)
            for _ in range(5):
                yield
            assert not any(isinstance(heard, Finish) for heard, _ in play.stage["anonymize"].hear())
            yield from play.log()

        assert len(run(play, script(), items=2, collected=True).outputs) == 1


def test_a_name_taken_meanwhile_is_kept(play: Play) -> None:
    play.retention = Retention.DELETE
    with pytest.raises(OutputError, match="File exists"):
        run(play, play.take_name())
    assert (play.folder / "out0.mp4").read_bytes() == b"mine"
    assert names(play) == ["out0.mp4"]
    assert play.source.read_bytes() == b"raw"


def test_a_death_after_the_release_takes_nothing_back(play: Play) -> None:
    def script() -> Iterator[None]:
        yield from play.honest()
        yield
        play.stage["ingest"].die(137)

    ran = run(play, script())
    assert len(ran.outputs) == 1
    assert names(play) == ["out0.mp4"]


FLAW = Finding(kind=FindingKind.STRUCTURE, what="not allowed", where="moov/udta")
FACE = Finding(kind=FindingKind.RESIDUAL, what="face", where="track 0", score=0.9, first=1, last=1)
DEFAULT = Verification()
ALL = Verification(structure=Verdict.RELEASE, residual=Verdict.RELEASE)
WITHHOLD = Verification(structure=Verdict.QUARANTINE, residual=Verdict.FAIL)
# Findings, rules, what becomes of the output.
VERDICTS = [
    ((FLAW,), DEFAULT, Verdict.FAIL),
    ((FACE,), DEFAULT, Verdict.QUARANTINE),
    ((FACE, FLAW), DEFAULT, Verdict.FAIL),
    ((FACE, FLAW), ALL, Verdict.RELEASE),
    ((FLAW,), WITHHOLD, Verdict.QUARANTINE),
    ((FLAW, FACE), WITHHOLD, Verdict.FAIL),
]


class TestVerify:
    def judged(self, play: Play, rules: Verification, *findings: Finding) -> AnonymizeRun:
        def script() -> Iterator[None]:
            play.write()
            play.witness()
            yield from play.look(*findings)
            yield from play.append()

        return run(play, script(), policy=Policy(deadline_s=2, verification=rules))

    @pytest.mark.parametrize(("findings", "rules", "verdict"), VERDICTS)
    def test_the_policy_decides(
        self, play: Play, findings: tuple[Finding, ...], rules: Verification, verdict: Verdict
    ) -> None:
        play.retention = Retention.DELETE
        ran = self.judged(play, rules, *findings)
        released = verdict is Verdict.RELEASE
        assert names(play) == (["out0.mp4"] if released else [])
        assert play.source.exists() is not released
        told = ran.outputs[0] if released else ran.failures[0]
        assert told.verification is not None
        assert len(ran.outputs) + len(ran.failures) == 1
        assert (told.verification.verdict, told.verification.findings) == (verdict, findings)
        error = {Verdict.FAIL: ("OutputRefused", 11), Verdict.QUARANTINE: ("OutputQuarantined", 12)}.get(verdict)
        assert [(failure.error, failure.exit_code) for failure in ran.failures] == ([error] if error else [])

    def test_what_is_in_quarantine_is_encrypted_and_opens_with_the_jobs_key(self, play: Play) -> None:
        (failure,) = self.judged(play, DEFAULT, FACE).failures
        kept, store = Path(failure.quarantine), play.folder.parent / "store"
        assert kept == store / "quarantine" / "0" / "0.veilbox"
        assert b"clean" not in kept.read_bytes()
        assert kept.parent.stat().st_mode & 0o777 == 0o700
        opened = io.BytesIO()
        with kept.open("rb") as sealed:
            decrypt_file(sealed, opened, KeyFolder.of(store).load("0-quarantine"))
        assert opened.getvalue() == b"clean"
        assert {path for path in store.rglob("*") if path.is_file()} == {kept, store / "keys" / "0-quarantine.key"}

    def test_findings_are_in_the_log_before_the_release(self, play: Play) -> None:
        self.judged(play, ALL, FACE, FLAW, FLAW)
        entries = [json.loads(entry) for entry in play.entries]
        found = [(entry["kind"], entry["count"], entry["action"]) for entry in entries if entry["type"] == "finding"]
        assert found == [("residual face", 1, "release"), ("structure not allowed", 2, "release")]
        assert [entry["type"] for entry in entries][-1] == "release"
        assert "moov" not in "".join(play.entries)


class TestFolder:
    def test_one_bad_source_stops_nobody(self, play: Play) -> None:
        def script() -> Iterator[None]:
            play.stage["ingest"].say(_failed("SourceCorrupt"))
            play.write()
            play.witness(1)
            yield from play.log()

        ran = run(play, script(), items=2, collected=True)
        assert [failure.error for failure in ran.failures] == ["SourceCorrupt"]
        assert names(play) == ["out1.mp4"]

    @pytest.mark.parametrize("error", [Interrupted("a signal"), ComponentDied("gone"), ComponentHung("stopped")])
    def test_what_ends_the_job_does_not_pass_for_a_bad_source(
        self, play: Play, monkeypatch: pytest.MonkeyPatch, error: VeilboxError
    ) -> None:
        def raises(*_: object) -> None:
            raise error

        monkeypatch.setattr(release, "open_source_file", raises)
        with pytest.raises(type(error)):
            run(play, play.honest(), items=2, collected=True)
        assert names(play) == []


def asked(play: Play) -> Iterator[None]:
    """Export is done; claim takes the output, and writes its copy."""
    play.write()
    play.witness()
    while not (heard := play.stage["claim"].hear()):
        yield
    ((message, (source, target)),) = heard
    assert isinstance(message, OpenClaim)
    assert (message.suffix, message.claim) == ("mp4", CLAIM)
    assert os.read(source, 9) == b"clean"
    assert fcntl.fcntl(source, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    os.write(target, b"clean, and it says so")
    os.close(source)
    play.held.append(target)
    assert play.stage["verify"].hear() == []


def signed(play: Play) -> Iterator[None]:
    """Claim asks for its signature, and gets it."""
    yield from asked(play)
    play.stage["claim"].say(ToSign(item=0, data=b"claim"))
    while not (heard := play.stage["claim"].hear()):
        yield
    ((message, _),) = heard
    assert isinstance(message, Signature)
    assert len(message.signature) == 64


def honest_claim(play: Play) -> Iterator[None]:
    yield from signed(play)
    os.close(play.held.pop())
    play.content = b"clean, and it says so"
    play.stage["claim"].say(Claimed(item=0))
    yield from play.log()


def test_the_copy_with_the_manifest_is_the_output(play: Play) -> None:
    ran = run(play, honest_claim(play), policy=CLAIMING)
    assert (play.folder / "out0.mp4").read_bytes() == b"clean, and it says so"
    assert names(play) == ["out0.mp4"]
    released = json.loads(play.entries[-1])
    digest = f"sha256:{hashlib.sha256(b'clean, and it says so').hexdigest()}"
    assert released["digest"] == ran.outputs[0].digest == digest


# Play -> what ends the job.
HOSTILE_CLAIMS: list[tuple[str, Callable[[Play], Iterator[None]], str]] = [
    ("signs twice", lambda play: then(signed(play), play, ToSign(item=0, data=b"x")), "not due"),
    ("signs another", lambda play: then(asked(play), play, ToSign(item=1, data=b"x")), "not due"),
    (
        "signs a file",
        lambda play: then(asked(play), play, ToSign(item=0, data=bytes(1 << 15))),
        "du",
    ),
    ("signs early", lambda play: then(iter(()), play, ToSign(item=0, data=b"x")), "not due"),
    ("unsigned", lambda play: then(asked(play), play, Claimed(item=0)), "was not asked about"),
    ("unasked", lambda play: then(iter(()), play, Claimed(item=0)), "was not asked about"),
    ("still open", lambda play: then(signed(play), play, Claimed(item=0)), "claim: the output is still open"),
    ("says what verify says", lambda play: then(signed(play), play, _seen()), "unexpected message"),
]


def then(script: Iterator[None], play: Play, message: FromComponent) -> Iterator[None]:
    yield from script
    play.stage["claim"].say(message)
    yield


@pytest.mark.parametrize(
    ("script", "said"), [one[1:] for one in HOSTILE_CLAIMS], ids=[one[0] for one in HOSTILE_CLAIMS]
)
def test_a_hostile_claim_ends_the_job_and_nothing_appears(
    play: Play, script: Callable[[Play], Iterator[None]], said: str
) -> None:
    with pytest.raises(ProtocolError, match=said):
        run(play, script(play), policy=CLAIMING)
    assert names(play) == []


def test_a_full_disk_fails_the_item_alone(play: Play) -> None:
    def script() -> Iterator[None]:
        yield from asked(play)
        play.stage["claim"].say(_failed())

    ran = run(play, script(), policy=CLAIMING, collected=True)
    assert [failure.error for failure in ran.failures] == ["OutputError"]
    assert names(play) == []


def test_nobody_else_is_signed_for(play: Play) -> None:
    script = play.witness_and_say("export", ToSign(item=0, data=b"x"))
    with pytest.raises(ProtocolError, match="export: unexpected"):
        run(play, script)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.avi", "a.tiff", "a.bmp"])
def test_formats_without_a_place_for_it_are_refused_before_anything_begins(name: str) -> None:
    item = Item(source=Path(name), output=Path(name), name=name)
    check_formats([item], POLICY)
    with pytest.raises(UsageError, match="carries no C2PA manifest"):
        check_formats([item], CLAIMING)
