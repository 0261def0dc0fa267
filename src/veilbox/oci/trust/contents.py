"""What is in an image, read from its unpacked layers: Debian packages, wheels, veilbox, models, each with its licence.

Nothing is guessed from file names: Debian packages from the status files that the base layer keeps, wheels from their
metadata, models from their cards. What states no licence has none here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from enum import StrEnum
from pathlib import Path

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.locks import Lock, LockedPackage
from veilbox.oci.image.spec import ImageConfig, Manifest
from veilbox.oci.image.wheel_lock import wheel_digest
from veilbox.oci.image.wheels import SITE_PACKAGES

_STATUS = "var/lib/dpkg/status.d"
_LICENCE_LINE = re.compile(r"^License:[ \t]*(\S[^\n]*)$", re.MULTILINE)
_NOT_NORMAL = re.compile(r"[-_.]+")  # PEP 503
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]+)")
_MACHINE_READABLE = "https://www.debian.org/doc/packaging-manuals/copyright-format/"


class Source(StrEnum):
    """Where a part came from, in purl's words."""

    DEB = "deb"
    PYPI = "pypi"
    MODEL = "generic"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Part:
    """One thing in an image.

    Attributes:
        source: Where it came from.
        name: There.
        version: There; a model's is empty.
        licences: Short names or expressions, as the part states them.
        architecture: A Debian package's.
        digest: Of the file that it came from: the .deb, the wheel, the weights; empty where that is not known.
        origin: A model's, in its card's words; a package's home page.
    """

    source: Source
    name: str
    version: str
    licences: tuple[str, ...] = ()
    architecture: str = ""
    digest: str = ""
    origin: str = ""

    @property
    def purl(self) -> str:
        """The part's address (package-url specification)."""
        from packageurl import PackageURL  # noqa: PLC0415 - a build's business, not a job's

        qualifiers = {"arch": self.architecture} if self.architecture else {}
        if self.source is Source.MODEL:  # the others' versions are theirs alone
            qualifiers["checksum"] = self.digest
        return PackageURL(
            type=self.source.value,
            namespace="debian" if self.source is Source.DEB else None,
            name=self.name,
            version=self.version or None,
            qualifiers=qualifiers,
        ).to_string()


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """An image and what is in it.

    Attributes:
        name: Of the image.
        version: Of the image.
        manifest: Its digest.
        licences: Of veilbox's own code in it.
        parts: Sorted, each once.
    """

    name: str
    version: str
    manifest: Digest
    licences: tuple[str, ...]
    parts: tuple[Part, ...]


class _Card(msgspec.Struct, frozen=True):
    name: str
    licence: str
    digest: str
    source: str = ""


def read_contents(
    name: str, manifest: Manifest, config: ImageConfig, layers: Iterable[Path], lock: Lock | None = None
) -> Contents:
    """What is in an image.

    Args:
        name: The image's.
        manifest: Its manifest.
        config: Its configuration.
        layers: Its unpacked layers.
        lock: The lock that it was built by, for the digests of Debian packages; wheels have theirs in veilbox's own.

    Raises:
        ImageError: Something describes itself in a way that cannot be read.
    """
    debs = {} if lock is None else {_key(one): one.sha256 for one in (*lock.whole, *lock.partial)}
    parts = {part for layer in layers for part in _parts(layer, debs)}
    licence = config.labels.get("org.opencontainers.image.licenses", "")
    return Contents(
        name=name,
        version=config.labels.get("org.opencontainers.image.version", ""),
        manifest=manifest.digest,
        licences=(licence,) if licence else (),
        parts=tuple(sorted(parts)),
    )


def _key(package: LockedPackage) -> tuple[str, str, str]:
    return package.name, package.version, package.architecture


def _parts(layer: Path, debs: Mapping[tuple[str, str, str], str]) -> Iterator[Part]:
    for path in sorted((layer / _STATUS).glob("*")):
        yield _debian(layer, _headers(path), debs)
    for path in sorted((layer / SITE_PACKAGES).glob("*.dist-info/METADATA")):
        yield _wheel(_headers(path), path.with_name("WHEEL"))
    for path in sorted((layer / "models").glob("*/card.json")):
        yield _model(path)


def _debian(layer: Path, fields: Message, debs: Mapping[tuple[str, str, str], str]) -> Part:
    name, version, architecture = (str(fields[key]) for key in ("Package", "Version", "Architecture"))
    sha256 = debs.get((name, version, architecture))
    copyright_file = layer / "usr" / "share" / "doc" / name / "copyright"
    return Part(
        source=Source.DEB,
        name=name,
        version=version,
        architecture=architecture,
        licences=_debian_licences(copyright_file),
        digest=f"sha256:{sha256}" if sha256 else "",
        origin=str(fields.get("Homepage", "")),
    )


def _debian_licences(path: Path) -> tuple[str, ...]:
    """The short names of a machine-readable copyright file (DEP 5), or the common licences that another refers to."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return ()  # no file, or a link to a package that is not here
    if _MACHINE_READABLE not in text:
        return tuple(sorted({match[1].rstrip(".") for match in _COMMON.finditer(text)}))
    return tuple(sorted({match[1].strip() for match in _LICENCE_LINE.finditer(text)}))


def _wheel(fields: Message, wheel: Path) -> Part:
    expression = str(fields.get("License-Expression", "") or fields.get("License", "")).strip()
    classifiers = (str(one) for one in fields.get_all("Classifier", []))
    named = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License :: ")]
    # Some wheels put the licence's whole text into the field that is for its name.
    short = expression if 0 < len(expression) <= 100 and "\n" not in expression else ""
    name, version = _NOT_NORMAL.sub("-", str(fields["Name"])).lower(), str(fields["Version"])
    digest = wheel_digest(name, version, _headers(wheel).get_all("Tag", [])) if wheel.is_file() else None
    return Part(
        source=Source.PYPI,
        name=name,
        version=version,
        licences=(short,) if short else tuple(sorted(named)),
        digest=digest.text if digest else "",
    )


def _model(path: Path) -> Part:
    try:
        card = msgspec.json.decode(path.read_bytes(), type=_Card)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ImageError("model card is unreadable", where=str(path), actual=str(error)) from error
    return Part(
        source=Source.MODEL,
        name=card.name,
        version="",
        licences=(card.licence,),
        digest=card.digest,
        origin=card.source,
    )


def _headers(path: Path) -> Message:
    """Fields of a control file or of Core Metadata: both are headers in the manner of mail."""
    return HeaderParser().parsestr(path.read_text("utf-8", "replace"))
