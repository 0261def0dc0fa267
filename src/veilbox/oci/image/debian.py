"""The base layer: Debian packages without dpkg, without their scripts, without what Python does not need.

apt resolves against an empty status file, so the host's installed packages have no say; apt fetches over what its
signed indexes say, and every package is held to the indexes' SHA256 once more here. State and package lists are our
own folder's, so no root is needed and the host's apt is left as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, MachineError
from veilbox.oci.image.definition import DebianLayer
from veilbox.oci.image.layer import inner_link
from veilbox.oci.image.layout import durable_rename
from veilbox.oci.image.unpack import Extractor
from veilbox.oci.process import Finished, run

# Since Debian 12 and Ubuntu 24.04 these are links into usr; packages of theirs still ship files there.
_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_DOCUMENTS = "usr/share/doc/"
_INSIDE = 4  # slashes in the path of a file of a package: usr, share, doc, PACKAGE

_ADVICE = "Check the network and the machine's apt sources (`apt-get update` must work)"
_MISSING = "Images are built on Debian 12 or later and Ubuntu 24.04 or later, with apt and dpkg"
_UPDATE_S = 300.0
_RESOLVE_S = 60.0
_FETCH_S = 600.0
_EXTRACT_S = 60.0

_CHOSEN = re.compile(r"Inst (?P<name>\S+) \((?P<version>\S+) .*\[(?P<architecture>\S+)\]\)")
_CLAUSE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One Debian package as apt's indexes have it.

    Attributes:
        name: The binary package's name.
        version: Its version, with epoch.
        architecture: `amd64`, `arm64` or `all`.
        sha256: Of the .deb file.
        needs: Its dependencies: of each group of alternatives one must be there.
        provides: Further names that it answers to.
    """

    name: str
    version: str
    architecture: str
    sha256: Digest
    needs: tuple[tuple[str, ...], ...]
    provides: tuple[str, ...]

    @property
    def wanted(self) -> str:
        """The package in apt's words."""
        return f"{self.name}={self.version}"


class Apt:
    """The host's apt with a status, lists and cache of our own.

    Args:
        state: A folder that belongs to veilbox; made.
        architecture: For which machines, in Debian's words.
    """

    def __init__(self, state: Path, architecture: str) -> None:
        self._state = state
        self._architecture = architecture
        for folder in (state / "lists" / "partial", state / "archives" / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        (state / "status").write_bytes(b"")

    def update(self) -> None:
        """Fetch the package lists of the host's sources.

        Raises:
            MachineError: apt is missing or could not.
        """
        self._run("apt-get", ["update", "-q", "-o", "Acquire::Languages=none"], _UPDATE_S)

    def closure(self, roots: Sequence[str]) -> tuple[Package, ...]:
        """The packages that apt would install on an empty machine to have `roots`, sorted by name.

        Raises:
            MachineError: apt cannot resolve them.
        """
        simulated = self._run("apt-get", ["install", "-s", "--no-install-recommends", *roots], _RESOLVE_S)
        chosen = {
            match["name"]: match["version"] for match in _CHOSEN.finditer(simulated.stdout.decode("utf-8", "replace"))
        }
        wanted = [f"{name}={version}" for name, version in sorted(chosen.items())]
        shown = self._run("apt-cache", ["show", *wanted], _RESOLVE_S).stdout.decode("utf-8", "replace")
        packages = {package.name: package for package in parse_packages(shown) if package.wanted in wanted}
        if packages.keys() != chosen.keys():
            raise MachineError(
                "apt names packages that its lists lack", actual=" ".join(sorted(chosen.keys() - packages.keys()))
            )
        return tuple(package for _, package in sorted(packages.items()))

    def offered(self, names: Iterable[str]) -> tuple[Package, ...]:
        """Every version of packages that the lists have; names that they lack are passed over.

        Raises:
            MachineError: apt is missing, or its lists lack what must be in them.
        """
        shown = self._run("apt-cache", ["show", *sorted(set(names))], _RESOLVE_S, check=False)
        return tuple(parse_packages(shown.stdout.decode("utf-8", "replace")))

    def fetch(self, packages: Iterable[Package], folder: Path) -> None:
        """Download packages that `folder` does not have yet; each becomes `<sha256>.deb`.

        Raises:
            MachineError: The download failed.
            ImageError: A file is not what the indexes say.
        """
        folder.mkdir(parents=True, exist_ok=True)
        missing = [package for package in packages if not deb_path(folder, package).exists()]
        if not missing:
            return
        with tempfile.TemporaryDirectory(dir=folder) as name:
            arriving = Path(name)
            self._run("apt-get", ["download", "-q", *(one.wanted for one in missing)], _FETCH_S, cwd=arriving)
            arrived = {Digest.of(path.read_bytes()): path for path in sorted(arriving.glob("*.deb"))}
            for package in missing:
                if package.sha256 not in arrived:
                    raise ImageError("package is not what apt's index says", where=package.wanted, advice=_ADVICE)
                durable_rename(arrived[package.sha256], deb_path(folder, package))

    def _run(
        self,
        program: str,
        arguments: Sequence[str],
        timeout_s: float,
        *,
        cwd: Path | None = None,
        check: bool = True,
    ) -> Finished:
        if shutil.which(program) is None:
            raise MachineError("program is missing", where=program, advice=_MISSING)
        options = {
            "APT::Architecture": self._architecture,
            "APT::Architectures": self._architecture,
            # apt's own user could not write below a home folder; what arrives is verified twice.
            "APT::Sandbox::User": "root",
            "Dir::Cache": str(self._state),
            "Dir::State::lists": str(self._state / "lists"),
            "Dir::State::status": str(self._state / "status"),
            "Debug::NoLocking": "1",  # the store's own lock is held
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return run([program, *words, *arguments], timeout_s=timeout_s, cwd=cwd, check=check, advice=_ADVICE)


def host_architecture() -> str:
    """This machine's architecture in Debian's words, which are OCI's too for amd64 and arm64.

    Raises:
        MachineError: There is no dpkg.
    """
    if shutil.which("dpkg") is None:
        raise MachineError("program is missing", where="dpkg", advice=_MISSING)
    return run(["dpkg", "--print-architecture"], timeout_s=_RESOLVE_S).stdout.decode("ascii").strip()


def deb_path(folder: Path, package: Package) -> Path:
    """Where `Apt.fetch` puts a package."""
    return folder / f"{package.sha256.hex}.deb"


def parse_packages(text: str) -> Iterator[Package]:
    """The stanzas of `apt-cache show` (deb822, Debian policy 5).

    Raises:
        MachineError: A stanza lacks what must be in it.
    """
    for stanza in text.split("\n\n"):
        fields = _fields(stanza)
        if not fields:
            continue
        try:
            yield Package(
                name=fields["Package"],
                version=fields["Version"],
                architecture=fields["Architecture"],
                sha256=Digest(f"sha256:{fields['SHA256']}"),
                needs=(*_relations(fields.get("Pre-Depends", "")), *_relations(fields.get("Depends", ""))),
                provides=tuple(name for group in _relations(fields.get("Provides", "")) for name in group),
            )
        except KeyError as error:
            raise MachineError(
                "apt's index lacks a field", where=fields.get("Package", ""), actual=str(error)
            ) from error


def _fields(stanza: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in stanza.splitlines() if line and not line[0].isspace())
    return {name: value.strip() for name, _, value in pairs}


def _relations(text: str) -> Iterator[tuple[str, ...]]:
    for group in filter(None, text.split(",")):
        names = (_CLAUSE.match(one.strip()) for one in group.split("|"))
        yield tuple(match[0] for match in names if match)


def reachable(packages: Sequence[Package], roots: Sequence[str], left_out: Sequence[str]) -> tuple[Package, ...]:
    """The packages that `roots` need, without those left out and without what only those need.

    Args:
        packages: A closure.
        roots: Where to begin.
        left_out: Patterns (fnmatch) of names that are not followed.

    Returns:
        Sorted by name.

    Raises:
        MachineError: Something that is needed is neither there nor left out.
    """
    by_name: dict[str, Package] = {name: one for one in packages for name in one.provides}
    by_name |= {one.name: one for one in packages}
    found: dict[str, Package] = {}
    waiting: list[tuple[str, ...]] = [(root,) for root in roots]
    while waiting:
        group = waiting.pop()
        chosen = next((by_name[name] for name in group if name in by_name), None)
        if any(fnmatchcase(name, pattern) for name in (*group, *_name_of(chosen)) for pattern in left_out):
            continue
        if chosen is None:
            raise MachineError("dependency is not in apt's answer", where=" | ".join(group))
        if chosen.name not in found:
            found[chosen.name] = chosen
            waiting.extend(chosen.needs)
    return tuple(package for _, package in sorted(found.items()))


def _name_of(package: Package | None) -> tuple[str, ...]:
    return (package.name,) if package else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """The packages that a base layer is made of: whole ones, and some of which a few files are taken."""

    whole: tuple[Package, ...]
    partial: tuple[Package, ...]


def resolve(apt: Apt, layer: DebianLayer) -> Base:
    """Which packages apt offers for a layer now.

    Raises:
        MachineError: apt cannot resolve them.
    """
    everything = apt.closure([*layer.packages, *layer.partial])
    return Base(
        whole=reachable(everything, layer.packages, layer.left_out),
        partial=tuple(package for package in everything if package.name in layer.partial),
    )


def assemble(layer: DebianLayer, base: Base, debs: Path, root: Path) -> None:
    """Make the base's content in an empty folder; bytecode comes later.

    Raises:
        MachineError: dpkg-deb is missing or fails.
        ImageError: A package holds what no image may have.
    """
    whole = Extractor(root, place=_merged, relink=_relative_link)
    for package in base.whole:
        _extract(deb_path(debs, package), whole)
    for package in base.partial:
        whole.place = partial(_only, layer.partial[package.name])
        _extract(deb_path(debs, package), whole)
    prune(root, layer.remove)
    _keep_programs(root, layer.programs)
    _add_own(layer, root)
    for package in (*base.whole, *base.partial):
        _write_status(deb_path(debs, package), package, root)


def _extract(deb: Path, extractor: Extractor) -> None:
    with tempfile.TemporaryFile() as tar:
        run(["dpkg-deb", "--fsys-tarfile", deb], timeout_s=_EXTRACT_S, stdout=tar, advice=_MISSING)
        tar.seek(0)
        extractor.extract(tar.read)


def _only(wanted: Sequence[str], name: str) -> str | None:
    return name if name in wanted else None


def _merged(name: str) -> str | None:
    if name.startswith(_DOCUMENTS) and name.count("/") >= _INSIDE and not name.endswith("/copyright"):
        return None
    return f"usr/{name}" if name.partition("/")[0] in _MERGED else name


def _relative_link(name: str, target: str) -> str:
    if target.startswith("/"):
        inside = _merged(target.strip("/")) or target.strip("/")
        target = os.path.relpath(inside, PurePosixPath(name).parent)
    return inner_link(name, target)


def prune(root: Path, patterns: Iterable[str]) -> None:
    """Remove what matches; a pattern that matches nothing is fine, distributions differ.

    Args:
        root: A folder of ours.
        patterns: In the words of Path.glob.
    """
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _keep_programs(root: Path, patterns: Sequence[str]) -> None:
    for folder in (root / "usr" / "bin", root / "usr" / "sbin"):
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.iterdir()):
            if not any(fnmatchcase(path.name, pattern) for pattern in patterns):
                path.unlink()


def _add_own(layer: DebianLayer, root: Path) -> None:
    for name in layer.folders:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in layer.files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    for name, target in layer.links.items():
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(inner_link(name, target))


def _write_status(deb: Path, package: Package, root: Path) -> None:
    """Tell SBOM tools what is here, in the way of images without dpkg: one stanza a package in status.d."""
    control = run(["dpkg-deb", "--field", deb], timeout_s=_EXTRACT_S, advice=_MISSING).stdout
    folder = root / "var" / "lib" / "dpkg" / "status.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / package.name).write_bytes(control.rstrip(b"\n") + b"\nStatus: install ok installed\n")


def require_offered(apt: Apt, packages: Sequence[Package]) -> tuple[str, ...]:
    """Hold what the package lists offer to what is wanted.

    Returns:
        What is wanted and no longer offered, as `NAME=VERSION`.

    Raises:
        ImageError: The lists have a wanted version with another digest.
        MachineError: As for `Apt.offered`.
    """
    offered = {one.wanted: one.sha256 for one in apt.offered(package.name for package in packages)}
    for package in packages:
        actual = offered.get(package.wanted, package.sha256)
        if actual != package.sha256:
            raise ImageError(
                "package of the same version is another file",
                where=package.wanted,
                expected=str(package.sha256),
                actual=str(actual),
                advice="Do not use this package source before you know why",
            )
    return tuple(package.wanted for package in packages if package.wanted not in offered)
