from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, MachineError
from veilbox.oci.image import debian, locks
from veilbox.oci.image.compression import Compression
from veilbox.oci.image.debian import Base, Package
from veilbox.oci.image.locks import LOCKS, Choice, Lock, LockBook, changes, distribution, parse_lock
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.workshop import Workshop


def package(name: str, version: str = "1", content: bytes = b"") -> Package:
    digest = Digest.of(content or f"{name} {version}".encode())
    return Package(name=name, version=version, architecture="all", sha256=digest, needs=(), provides=())


def lock_of(*packages: Package, architecture: str = "amd64") -> Lock:
    return Lock.of(Base(whole=packages, partial=()), "debian-12", architecture)


OLD, NEW = lock_of(package("libc6", "1"), package("python")), lock_of(package("libc6", "2"), package("python"))


@pytest.mark.parametrize("path", sorted(LOCKS.glob("*.json")), ids=lambda path: path.stem)
def test_the_locks_that_come_with_veilbox_are_sound(path: Path) -> None:
    lock = parse_lock(path.read_bytes(), path.name)
    assert lock.name == path.stem
    assert lock.text() == path.read_bytes()  # as `image lock` would write it: changes are small diffs
    assert {"python3-minimal", "libc6"} <= {one.name for one in lock.whole}


def test_there_is_a_lock_for_both_architectures_of_the_distribution_that_ci_runs_on() -> None:
    assert {"debian-12-amd64", "debian-12-arm64"} <= {path.stem for path in LOCKS.glob("*.json")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian-12"),
        ('NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\n', "ubuntu-24.04"),
        ("ID=debian\nVERSION_CODENAME=sid\n", "debian-sid"),
        ("ID=../../etc\nVERSION_ID=1\n", None),
        ("", None),
    ],
)
def test_the_distribution_is_what_the_machine_says(tmp_path: Path, text: str, expected: str | None) -> None:
    (tmp_path / "os-release").write_text(text)
    if expected is None:
        with pytest.raises(MachineError, match="distribution"):
            distribution(tmp_path / "os-release")
    else:
        assert distribution(tmp_path / "os-release") == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        OLD.text().replace(b"amd64", b"pdp11"),
        OLD.text().replace(b'"sha256": "', b'"sha256": "x'),
        OLD.text().replace(b"distribution", b"distributor"),
    ],
)
def test_other_files_are_no_locks(raw: bytes) -> None:
    with pytest.raises(ImageError):
        parse_lock(raw, "lock")


def test_changes_are_told_by_package() -> None:
    assert list(changes(OLD, NEW)) == ["libc6: 1 -> 2"]
    assert list(changes(None, OLD)) == ["libc6: absent -> 1", "python: absent -> 1"]


@pytest.fixture
def book(tmp_path: Path) -> LockBook:
    (tmp_path / "shipped").mkdir()
    return LockBook(own=tmp_path / "own", shipped=tmp_path / "shipped")


def ship(book: LockBook, lock: Lock) -> None:
    (book.shipped / f"{lock.name}.json").write_bytes(lock.text())


def test_a_machine_s_own_lock_holds_until_veilbox_brings_another(book: LockBook) -> None:
    assert book.current(OLD.name) is None
    ship(book, OLD)
    assert book.current(OLD.name) == OLD
    book.keep(NEW)
    own = book.current(OLD.name)
    assert own is not None
    assert (own.digest, book.is_own(own)) == (NEW.digest, True)
    newest = lock_of(package("libc6", "3"))
    ship(book, newest)
    assert book.current(OLD.name) == newest


def test_veilbox_s_own_lock_is_not_kept_twice(book: LockBook) -> None:
    ship(book, OLD)
    book.keep(NEW)
    book.keep(OLD)
    assert list(book.own.iterdir()) == []
    assert book.current(OLD.name) == OLD


class Mirror:
    """What a machine's package sources offer."""

    def __init__(self, *packages: Package) -> None:
        self.packages = packages
        self.asked = 0

    def update(self, apt: debian.Apt) -> None:
        del apt
        self.asked += 1

    def offered(self, apt: debian.Apt, names: Iterable[str]) -> tuple[Package, ...]:
        del apt
        wanted = set(names)
        return tuple(one for one in self.packages if one.name in wanted)

    def closure(self, apt: debian.Apt, roots: Sequence[str]) -> tuple[Package, ...]:
        del apt, roots
        return self.packages


@pytest.fixture
def said() -> list[str]:
    return []


def workshop(
    monkeypatch: pytest.MonkeyPatch, book: LockBook, mirror: Mirror, said: list[str], choice: Choice
) -> Workshop:
    for name in ("update", "offered", "closure"):
        monkeypatch.setattr(debian.Apt, name, lambda *words, name=name: getattr(mirror, name)(*words))
    monkeypatch.setattr(debian, "reachable", lambda packages, *_: tuple(packages))
    monkeypatch.setattr(locks, "_OS_RELEASE", book.shipped / "os-release")
    monkeypatch.setattr("veilbox.oci.image.workshop.distribution", lambda: "debian-12")
    monkeypatch.setattr("veilbox.oci.image.workshop.LockBook", lambda own: LockBook(own=own, shipped=book.shipped))
    store = ImageStore(book.shipped.parent / "store")
    store.prepare()
    return Workshop(
        store=store, progress=said.append, choice=choice, compression=Compression.GZIP, architecture="amd64"
    )


def test_the_lock_is_followed_although_there_is_newer(
    monkeypatch: pytest.MonkeyPatch, book: LockBook, said: list[str]
) -> None:
    ship(book, OLD)
    mirror = Mirror(package("libc6", "1"), package("libc6", "2"), package("python"))
    for choice in (Choice.LOCKED, Choice.NEWER_IF_GONE):
        assert workshop(monkeypatch, book, mirror, said, choice).lock == OLD
    assert not any("lock of this machine's own" in line for line in said)


def test_a_version_that_is_gone_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, book: LockBook, said: list[str]
) -> None:
    ship(book, OLD)
    mirror = Mirror(package("libc6", "2"), package("python"))
    with pytest.raises(MachineError, match=r"libc6=1.*--refresh.*veilbox image lock"):
        _ = workshop(monkeypatch, book, mirror, said, Choice.LOCKED).lock


def test_a_version_that_is_gone_is_replaced_on_request_and_said(
    monkeypatch: pytest.MonkeyPatch, book: LockBook, said: list[str]
) -> None:
    ship(book, OLD)
    mirror = Mirror(package("libc6", "2"), package("python"))
    assert workshop(monkeypatch, book, mirror, said, Choice.NEWER_IF_GONE).lock.digest == NEW.digest
    assert "base: no longer offered: libc6=1" in said
    assert "base: libc6: 1 -> 2" in said
    assert any("lock of this machine's own" in line for line in said)
    # From now on this is the machine's lock; without the option too.
    assert workshop(monkeypatch, book, mirror, said, Choice.LOCKED).lock.digest == NEW.digest


def test_the_newest_is_taken_on_request(monkeypatch: pytest.MonkeyPatch, book: LockBook, said: list[str]) -> None:
    ship(book, OLD)
    mirror = Mirror(package("libc6", "2"), package("python"))
    assert workshop(monkeypatch, book, mirror, said, Choice.NEWEST).lock.digest == NEW.digest


def test_a_distribution_without_a_lock_gets_one_and_says_so(
    monkeypatch: pytest.MonkeyPatch, book: LockBook, said: list[str]
) -> None:
    mirror = Mirror(package("libc6", "2"), package("python"))
    assert workshop(monkeypatch, book, mirror, said, Choice.LOCKED).lock.digest == NEW.digest
    assert "base: veilbox has no lock for debian-12-amd64" in said


def test_another_file_under_a_locked_version_is_refused_whatever_was_asked(
    monkeypatch: pytest.MonkeyPatch, book: LockBook, said: list[str]
) -> None:
    ship(book, OLD)
    mirror = Mirror(package("libc6", "1", content=b"evil"), package("python"))
    for choice in (Choice.LOCKED, Choice.NEWER_IF_GONE):
        with pytest.raises(ImageError, match="another file"):
            _ = workshop(monkeypatch, book, mirror, said, choice).lock


def test_apt_is_not_asked_for_what_is_here(monkeypatch: pytest.MonkeyPatch, book: LockBook, said: list[str]) -> None:
    ship(book, OLD)
    mirror = Mirror()
    here = workshop(monkeypatch, book, mirror, said, Choice.LOCKED)
    debs = here.store.cache / "debs"
    debs.mkdir(parents=True)
    for one in OLD.base.whole:
        debian.deb_path(debs, one).write_bytes(b"")
    assert (here.lock, mirror.asked) == (OLD, 0)
    shutil.rmtree(debs)


def test_two_locks_with_the_same_packages_give_one_base() -> None:
    assert replace(OLD.base).whole == OLD.base.whole
    assert lock_of(*OLD.base.whole).digest == OLD.digest != NEW.digest
