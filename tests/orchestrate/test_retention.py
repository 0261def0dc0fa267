"""A source goes only after its release, only if it is still what was read, and never by halves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from veilbox.core.errors import OutputError, SourceCorrupt, SourceMissing, UsageError
from veilbox.core.job import Item
from veilbox.core.policy import Policy, Retention
from veilbox.orchestrate.audit_trail import AuditTrail
from veilbox.orchestrate.purge import Purged, age_s, purge
from veilbox.orchestrate.quarantine import Quarantine
from veilbox.orchestrate.retention import Fate, HeldSource, SourceRetention, check_sources, unkept
from veilbox.orchestrate.sealed_sources import key_of, open_sealed
from veilbox.orchestrate.staging import StagedOutput

FACE = b"a face that nobody may see" * 5000
DIGEST = f"sha256:{hashlib.sha256(FACE).hexdigest()}"
FAR = 4e9  # seconds since the epoch, in the year 2096


class Log:
    """What the log was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def deleted(self, what: str, digest: str, *, item: int | None = None, of: str | None = None) -> None:
        self.told.append(("deletion", what, digest, str(item), str(of)))

    def due(self, what: str, digest: str, *, item: int | None = None, of: str | None = None) -> None:
        self.told.append(("due", what, digest, str(item), str(of)))

    def notice(self, code: str, *, item: int | None = None) -> None:
        self.told.append(("notice", code, str(item)))

    def flush(self) -> None:
        self.told.append(("durable",))


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "street.mp4"
    path.parent.mkdir()
    path.write_bytes(FACE)
    return path


def held(source: Path) -> HeldSource:
    with source.open("rb") as file:
        return HeldSource.of(source, file.fileno())


def settle(source: Path, log: Log, retention: Retention, between: Callable[[Path], object] = lambda _: None) -> Fate:
    store = source.parents[1] / "store"
    keeper = SourceRetention(retention, store, "5f0b83b0", log)
    with source.open("rb") as file:
        kept = keeper.hold(source, file.fileno())
    between(source)
    try:
        return keeper.settle(kept, 3, DIGEST)
    finally:
        if kept is not None:
            kept.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_source_stays_by_default(source: Path, log: Log) -> None:
    assert settle(source, log, Policy().retention) is Fate.KEPT
    assert (source.read_bytes(), log.told) == (FACE, [])


def test_a_deleted_source_is_gone_and_logged(source: Path, log: Log) -> None:
    assert settle(source, log, Retention.DELETE) is Fate.DELETED
    assert names(source.parent) == []
    assert log.told == [("deletion", "source", DIGEST, "3", "None")]


def test_an_encrypted_source_opens_until_it_is_purged(source: Path, log: Log, tmp_path: Path) -> None:
    assert settle(source, log, Retention.ENCRYPT) is Fate.ENCRYPTED
    sealed = source.with_name("street.mp4.veilbox")
    assert names(source.parent) == [sealed.name]
    assert b"face" not in sealed.read_bytes()
    assert log.told == [("deletion", "source", DIGEST, "3", "None"), ("notice", "source-encrypted", "3")]
    out = tmp_path / "back.mp4"
    open_sealed(tmp_path / "store", sealed, out)
    assert out.read_bytes() == FACE
    copy = sealed.rename(tmp_path / "moved.veilbox")
    sealed.write_bytes(b"somebody else's file")
    assert purged(tmp_path, log)[0].path == str(sealed)
    key = ("key", DIGEST, "3", "5f0b83b0")
    assert log.told[2:] == [("due", *key), ("durable",), ("deletion", *key), ("durable",)]
    assert sealed.read_bytes() == b"somebody else's file"
    with pytest.raises(SourceMissing, match="no key of this machine"):
        open_sealed(tmp_path / "store", copy, tmp_path / "again.mp4")
    assert purged(tmp_path, log) == []


def purged(tmp_path: Path, log: Log, *, before_s: float = FAR, dry_run: bool = False) -> list[Purged]:
    @contextmanager
    def session() -> Iterator[AuditTrail]:
        yield cast("AuditTrail", log)

    asked = cast("Callable[[], AbstractContextManager[AuditTrail]]", session)
    return purge(tmp_path / "store", before_s, asked, dry_run=dry_run)


def test_a_purge_takes_what_is_old_and_can_be_tried_first(source: Path, log: Log, tmp_path: Path) -> None:
    settle(source, log, Retention.ENCRYPT)
    assert purged(tmp_path, log, before_s=0) == []
    assert len(purged(tmp_path, log, dry_run=True)) == 1
    sealed = source.with_name("street.mp4.veilbox")
    assert sealed.exists()
    assert len(purged(tmp_path, log)) == 1
    assert not sealed.exists()
    assert names(tmp_path / "store" / "keys") == names(tmp_path / "store" / "sources") == []


def test_a_purge_that_was_killed_is_finished_by_the_next(source: Path, log: Log, tmp_path: Path) -> None:
    settle(source, log, Retention.ENCRYPT)

    class Killed(Log):
        def flush(self) -> None:
            if self.told[-1][0] == "deletion":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purged(tmp_path, Killed())
    with pytest.raises(SourceMissing):
        open_sealed(tmp_path / "store", source.with_name("street.mp4.veilbox"), tmp_path / "out")
    assert len(purged(tmp_path, log)) == 1
    assert names(source.parent) == []


def test_a_purge_destroys_nothing_before_it_is_on_record_that_it_will(source: Path, tmp_path: Path) -> None:
    settle(source, Log(), Retention.ENCRYPT)

    class Lost(Log):
        def flush(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purged(tmp_path, Lost())
    open_sealed(tmp_path / "store", source.with_name("street.mp4.veilbox"), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == FACE


def test_a_purge_takes_the_quarantine_too(log: Log, tmp_path: Path) -> None:
    for job, item in (("aaaa0000", 0), ("aaaa0000", 2), ("bbbb0000", 1)):
        with StagedOutput.create(tmp_path / "out.mp4", replace=False) as staged:
            os.write(staged.fd, FACE)
            staged.freeze()
            Quarantine(tmp_path / "store", job).keep(item, staged)
    kept = tmp_path / "store" / "quarantine"
    os.utime(kept / "bbbb0000" / "1.veilbox", (FAR + 1, FAR + 1))
    gone = purged(tmp_path, log)
    assert [(one.what, one.job, one.item, one.digest) for one in gone] == [
        ("quarantine", "aaaa0000", 0, DIGEST),
        ("quarantine", "aaaa0000", 2, DIGEST),
    ]
    both = [("quarantine", DIGEST, item, "aaaa0000") for item in ("0", "2")]
    due, done = ([(word, *one) for one in both] for word in ("due", "deletion"))
    assert log.told == [*due, ("durable",), *done, ("durable",)]
    assert names(kept) == ["bbbb0000"]
    assert names(tmp_path / "store" / "keys") == ["bbbb0000-quarantine.key"]


def test_who_opens_a_file_is_told_before_it_has_a_name(source: Path, log: Log, tmp_path: Path) -> None:
    settle(source, log, Retention.ENCRYPT)
    store, sealed = tmp_path / "store", source.with_name("street.mp4.veilbox")
    assert key_of(store, sealed) == "5f0b83b0-source"

    def refuse(digest: str) -> None:
        assert digest == DIGEST
        assert not (tmp_path / "out").exists()
        raise OutputError("the log is full")

    with pytest.raises(OutputError):
        open_sealed(store, sealed, tmp_path / "out", told=refuse)
    assert not (tmp_path / "out").exists()


def _replace(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    path.write_bytes(FACE)


def _write(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"b")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    path.symlink_to(path.with_suffix(".old"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    other = path.parent.with_name("other")
    path.parent.rename(other)
    path.parent.mkdir()
    path.write_bytes(b"another film in another folder")
    (other / path.name).write_bytes(b"changed")


# What happens between the opening and the release -> what the source's fate is.
MEANWHILE: dict[str, tuple[Callable[[Path], object], Fate]] = {
    "another file": (_replace, Fate.CHANGED),
    "other bytes, times set back": (_write, Fate.CHANGED),
    "touched": (lambda path: os.utime(path, (1, 1)), Fate.CHANGED),
    "a link": (_link, Fate.CHANGED),
    "gone": (lambda path: path.unlink(), Fate.CHANGED),
    "a pipe": (_pipe, Fate.CHANGED),
    "another folder": (_folder, Fate.CHANGED),
    "a second name": (lambda path: path.with_suffix(".two").hardlink_to(path), Fate.CHANGED),
}


@pytest.mark.parametrize("retention", [Retention.DELETE, Retention.ENCRYPT])
@pytest.mark.parametrize(("between", "fate"), MEANWHILE.values(), ids=MEANWHILE)
def test_a_source_that_is_not_what_was_read_stays(
    source: Path, log: Log, retention: Retention, between: Callable[[Path], object], fate: Fate
) -> None:
    before: list[list[str]] = []

    def meanwhile(path: Path) -> None:
        between(path)
        before.append(names(path.parent))

    assert settle(source, log, retention, meanwhile) is fate
    assert before == [names(source.parent)]
    assert log.told == [("notice", f"source-stays-{fate}", "3")]


def test_a_digest_that_is_another_keeps_the_source(source: Path, log: Log, tmp_path: Path) -> None:
    for retention in (Retention.DELETE, Retention.ENCRYPT):
        keeper = SourceRetention(retention, tmp_path / "store", "5f0b83b0", log)
        kept = held(source)
        assert keeper.settle(kept, 0, "sha256:00") is Fate.CHANGED
        kept.close()
    assert names(source.parent) == ["street.mp4"]


def test_a_store_that_cannot_be_written_keeps_the_source(source: Path, log: Log) -> None:
    (source.parents[1] / "store").write_bytes(b"")
    assert settle(source, log, Retention.ENCRYPT) is Fate.REFUSED
    assert names(source.parent) == ["street.mp4"]
    assert log.told == [("notice", "source-stays-refused", "3")]


def test_an_encrypted_file_of_that_name_is_not_replaced(source: Path, log: Log) -> None:
    mine = source.with_name("street.mp4.veilbox")
    mine.write_bytes(b"mine")
    assert settle(source, log, Retention.ENCRYPT) is Fate.REFUSED
    assert (mine.read_bytes(), source.read_bytes()) == (b"mine", FACE)


# The calls by which anything becomes durable, named or gone.
STEPS = ("fsync", "link", "unlink", "replace", "fchmod", "open", "write")


def _die_before(number: int, source: Path, retention: Retention) -> bool:
    """Settle in a process of its own that is killed before its n-th step; whether it lived to the end."""
    child = os.fork()
    if child == 0:
        count = 0

        def stepping(call: Any) -> Any:
            def step(*arguments: Any, **words: Any) -> Any:
                nonlocal count
                count += 1
                if count > number:
                    os._exit(9)
                return call(*arguments, **words)

            return step

        for name in STEPS:
            setattr(os, name, stepping(getattr(os, name)))
        fate = settle(source, Log(), retention)
        os._exit(0 if fate.wanted else 7)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, 9}
    return status == 0


@pytest.mark.parametrize("retention", [Retention.DELETE, Retention.ENCRYPT])
def test_a_kill_before_any_step_leaves_the_source_or_what_its_key_opens(tmp_path: Path, retention: Retention) -> None:
    number, lived = 0, False
    while not lived:
        folder = tmp_path / str(number)
        source = folder / "in" / "street.mp4"
        source.parent.mkdir(parents=True)
        source.write_bytes(FACE)
        lived = _die_before(number, source, retention)
        if not source.exists() and retention is Retention.ENCRYPT:
            open_sealed(folder / "store", source.with_name("street.mp4.veilbox"), folder / "out")
            assert (folder / "out").read_bytes() == FACE
            (folder / "out").unlink()
        readable = [path for path in folder.rglob("*") if path.is_file() and b"face" in path.read_bytes()]
        assert readable == ([source] if source.exists() else [])
        number += 1
    assert number > (20 if retention is Retention.ENCRYPT else 4)
    assert not source.exists()


def item(path: Path) -> Item:
    return Item(source=path, output=None, name=path.name)


def _hard(path: Path) -> list[Item]:
    path.with_suffix(".two").hardlink_to(path)
    return [item(path)]


def _symbolic(path: Path) -> list[Item]:
    path.with_suffix(".two").symlink_to(path)
    return [item(path.with_suffix(".two"))]


BEFORE: dict[str, tuple[Callable[[Path], list[Item]], str]] = {
    "a link": (_symbolic, "is a link"),
    "a second name": (_hard, "second name"),
    "twice": (lambda path: [item(path), item(path.parent / ".." / "in" / path.name)], "named twice"),
}


@pytest.mark.parametrize(("make", "words"), BEFORE.values(), ids=BEFORE)
def test_what_could_not_go_is_refused_before_anything_runs(
    source: Path, make: Callable[[Path], list[Item]], words: str
) -> None:
    items = make(source)
    check_sources(items, Policy())
    with pytest.raises(UsageError, match=words):
        check_sources(items, Policy(retention=Retention.DELETE))


def test_what_is_not_there_is_found_later(tmp_path: Path) -> None:
    check_sources([item(tmp_path / "none")], Policy(retention=Retention.DELETE))


def test_sources_that_stay_are_told() -> None:
    told = unkept([("a", "kept"), ("b", "changed"), ("c", "deleted"), ("d", "linked"), ("e", "refused")])
    assert [error.where for error in told] == ["b", "d", "e"]
    assert "is not the file any more" in str(told[0])


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("90m", 5400), ("30d", 2_592_000), ("2w", 1_209_600)])
def test_ages(text: str, seconds: int) -> None:
    assert age_s(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "30 d", "1y", "٣d"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(UsageError, match="--older-than"):
        age_s(text)


def test_what_is_no_encrypted_file_is_not_opened(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceCorrupt, match=r"street\.mp4"):
        open_sealed(tmp_path, source, tmp_path / "out")
    with pytest.raises(SourceMissing, match="none"):
        open_sealed(tmp_path, tmp_path / "none", tmp_path / "out")
    assert names(tmp_path) == ["in"]


def test_a_damaged_encrypted_file_leaves_nothing(source: Path, log: Log, tmp_path: Path) -> None:
    settle(source, log, Retention.ENCRYPT)
    sealed = source.with_name("street.mp4.veilbox")
    sealed.write_bytes(sealed.read_bytes()[:-1])
    with pytest.raises(SourceCorrupt, match="changed or cut off"):
        open_sealed(tmp_path / "store", sealed, tmp_path / "out")
    assert "out" not in names(tmp_path)
