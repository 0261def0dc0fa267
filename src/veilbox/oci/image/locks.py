"""Which Debian packages a base is made of: named with version and digest, in a file that changes are reviewed in.

Locks come with veilbox in `lock/`, one for each distribution and architecture. Where a machine's package sources have
moved on, or its distribution has no lock, the machine keeps a lock of its own in its store, until veilbox comes with a
newer one. A build always follows exactly one lock and says which. Why: docs/adr/0013.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, MachineError
from veilbox.oci.image.debian import Base, Package
from veilbox.oci.image.layout import durable_rename
from veilbox.oci.image.wire import canonical

LOCKS = Path(__file__).parent / "lock"

_OS_RELEASE = Path("/etc/os-release")
_FIELD = re.compile(r'(?P<name>[A-Z_]+)="?(?P<value>[A-Za-z0-9._-]*)"?', re.ASCII)
_ARCHITECTURES = frozenset({"amd64", "arm64"})


class Choice(StrEnum):
    """Which packages a build takes."""

    LOCKED = "locked"
    NEWER_IF_GONE = "newer-if-gone"
    NEWEST = "newest"


class LockedPackage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One package, exactly.

    Attributes:
        name: The binary package's name.
        version: Its version, with epoch.
        architecture: The package's own: `all` too.
        sha256: Of the .deb file.
    """

    name: str
    version: str
    architecture: str
    sha256: str

    @classmethod
    def of(cls, package: Package) -> LockedPackage:
        """A package as apt offers it."""
        return cls(
            name=package.name,
            version=package.version,
            architecture=package.architecture,
            sha256=package.sha256.hex,
        )

    def package(self) -> Package:
        """For apt; a lock does not say why a package is needed."""
        return Package(
            name=self.name,
            version=self.version,
            architecture=self.architecture,
            sha256=Digest(f"sha256:{self.sha256}"),
            needs=(),
            provides=(),
        )


class Lock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The packages of a base.

    Attributes:
        distribution: `debian-12`.
        architecture: For which machines, in Debian's words.
        whole: Packages that go in.
        partial: Packages of which a few files go in.
        replaces: Of a machine's own lock: the digest of veilbox's that it stands in for; empty if there is none.
    """

    distribution: str
    architecture: str
    whole: tuple[LockedPackage, ...]
    partial: tuple[LockedPackage, ...]
    replaces: str = ""

    @classmethod
    def of(cls, base: Base, distribution: str, architecture: str) -> Lock:
        """What apt chose, as a lock."""
        return cls(
            distribution=distribution,
            architecture=architecture,
            whole=tuple(LockedPackage.of(package) for package in base.whole),
            partial=tuple(LockedPackage.of(package) for package in base.partial),
        )

    @property
    def name(self) -> str:
        """The name of its file, without the ending."""
        return f"{self.distribution}-{self.architecture}"

    @property
    def base(self) -> Base:
        """For the builder."""
        return Base(
            whole=tuple(one.package() for one in self.whole), partial=tuple(one.package() for one in self.partial)
        )

    @property
    def digest(self) -> Digest:
        """Of the packages alone: two locks with one digest give one base."""
        return Digest.of(canonical([self.whole, self.partial]))

    def text(self) -> bytes:
        """The file's content, for people and for diffs."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def changes(before: Lock | None, after: Lock) -> Iterator[str]:
    """What a new lock changes, a line for each package."""
    old = {one.name: one.version for one in (*before.whole, *before.partial)} if before else {}
    new = {one.name: one.version for one in (*after.whole, *after.partial)}
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield f"{name}: {old.get(name, 'absent')} -> {new.get(name, 'absent')}"


def distribution(os_release: Path = _OS_RELEASE) -> str:
    """This machine's distribution: `debian-12`, `ubuntu-24.04`; a name where there is no number (`debian-sid`).

    Source: os-release(5).

    Raises:
        MachineError: The machine does not say.
    """
    try:
        text = os_release.read_text("utf-8", "replace")
    except OSError as error:
        raise MachineError("cannot tell the distribution", where=str(os_release), actual=str(error.strerror)) from error
    fields = {match["name"]: match["value"] for line in text.splitlines() if (match := _FIELD.fullmatch(line))}
    release = fields.get("VERSION_ID") or fields.get("VERSION_CODENAME")
    if not fields.get("ID") or not release:
        raise MachineError("cannot tell the distribution", where=str(os_release), expected="ID and VERSION_ID")
    return f"{fields['ID']}-{release}"


def parse_lock(raw: bytes, where: str) -> Lock:
    """A lock from its file.

    Raises:
        ImageError: It is none.
    """
    try:
        lock = msgspec.json.decode(raw, type=Lock)
    except msgspec.DecodeError as error:
        raise ImageError(
            "not a lock", where=where, actual=str(error), advice="Write it anew with `veilbox image lock`"
        ) from error
    if lock.architecture not in _ARCHITECTURES:
        raise ImageError("lock for an unknown architecture", where=where, actual=lock.architecture)
    for package in (*lock.whole, *lock.partial):
        package.package()
    return lock


@dataclass(frozen=True, kw_only=True, slots=True)
class LockBook:
    """The locks that a machine may follow.

    Attributes:
        own: The folder of the machine's own locks.
        shipped: The folder of veilbox's.
    """

    own: Path
    shipped: Path = LOCKS

    def current(self, name: str) -> Lock | None:
        """The lock to follow: the machine's own, unless veilbox came with another since; None if there is none.

        Raises:
            ImageError: A file is no lock.
        """
        ours = _read(self.shipped / f"{name}.json")
        own = _read(self.own / f"{name}.json")
        return own if own is not None and own.replaces == _digest_text(ours) else ours

    def keep(self, lock: Lock) -> None:
        """Make a lock the machine's own; veilbox's own lock needs no copy."""
        ours = _read(self.shipped / f"{lock.name}.json")
        path = self.own / f"{lock.name}.json"
        if ours is not None and ours.digest == lock.digest:
            path.unlink(missing_ok=True)
            return
        self.own.mkdir(parents=True, exist_ok=True)
        kept = msgspec.structs.replace(lock, replaces=_digest_text(ours))
        unfinished = path.with_suffix(".new")
        unfinished.write_bytes(kept.text())
        durable_rename(unfinished, path)

    def is_own(self, lock: Lock) -> bool:
        """Whether a lock is another than veilbox's."""
        ours = _read(self.shipped / f"{lock.name}.json")
        return ours is None or ours.digest != lock.digest


def _read(path: Path) -> Lock | None:
    try:
        return parse_lock(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None


def _digest_text(lock: Lock | None) -> str:
    return lock.digest.text if lock else ""
