"""Where content is: registry, repository, tag or digest, parsed once.

Source: OCI distribution-spec 1.1.1, "Pulling manifests" (names and tags); the host's part as the field's tools write
it. Nothing is completed silently: a name without a registry means another thing to every tool.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from veilbox.core.digest import Digest
from veilbox.core.errors import UsageError

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?P<name>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{{1,5}}))?", re.ASCII)

# distribution-spec 1.1.1: "many clients impose a limit of 255 characters" on host and name together.
_MAX_NAME_CHARS = 255

# This one registry's API answers at another host than its name says.
_HUB = "docker.io"
_HUB_API = "registry-1.docker.io"


@dataclass(frozen=True, order=True, slots=True)
class Repository:
    """A named place in a registry.

    Attributes:
        registry: Host, with a port if it is not the scheme's.
        name: Path components, lower case.

    Raises:
        UsageError: One of them is not what the specification allows.
    """

    registry: str
    name: str

    def __post_init__(self) -> None:
        host = _HOST.fullmatch(self.registry)
        if host is None or int(host["port"] or 1) not in range(1, 65536) or not _sound_address(host["name"]):
            raise _wrong("not a registry", self.registry, "HOST or HOST:PORT")
        if not _NAME.fullmatch(self.name):
            raise _wrong("not a repository's name", self.name, "lower-case words joined by . _ - and /")
        if len(self.registry) + 1 + len(self.name) > _MAX_NAME_CHARS:
            raise _wrong("name is too long", f"{self}", f"at most {_MAX_NAME_CHARS} characters")

    @property
    def api_host(self) -> str:
        """Where its API answers."""
        return _HUB_API if self.registry == _HUB else self.registry

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is this very machine, so that nobody can listen on the way."""
        host = _HOST.fullmatch(self.registry)
        name = host["name"].strip("[]") if host else ""
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return name.lower() == "localhost"

    def __str__(self) -> str:
        return f"{self.registry}/{self.name}"


@dataclass(frozen=True, order=True, slots=True)
class Reference:
    """A repository with a tag, a digest, or both (then the digest decides and the tag is for people).

    Attributes:
        repository: Where.
        tag: A name that may move.
        digest: What it is.

    Raises:
        UsageError: The tag is none, or there is neither.
    """

    repository: Repository
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        if self.tag is not None and not _TAG.fullmatch(self.tag):
            raise _wrong("not a tag", self.tag, "at most 128 letters, digits, . _ or -")
        if self.tag is None and self.digest is None:
            raise _wrong("reference without tag or digest", str(self.repository), "NAME:TAG or NAME@sha256:…")

    @property
    def target(self) -> str:
        """What the API asks for: the digest if there is one, else the tag."""
        return self.digest.text if self.digest is not None else str(self.tag)

    def at(self, digest: Digest) -> Reference:
        """The same, pinned."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        digest = "" if self.digest is None else f"@{self.digest}"
        return f"{self.repository}{tag}{digest}"


def parse_repository(text: str) -> Repository:
    """A repository from `HOST[:PORT]/NAME`.

    Raises:
        UsageError: It is none, or leaves out the registry.
    """
    registry, slash, name = text.partition("/")
    if not slash or not _names_a_host(registry):
        raise UsageError(
            "reference without a registry",
            expected="HOST/NAME, and a HOST with a dot, a port, or localhost",
            actual=text,
            advice=f"Write the registry: {_HUB}/library/NAME if Docker's is meant",
        )
    if registry == _HUB and "/" not in name:
        raise UsageError("shorthand of Docker's registry", actual=text, advice=f"Write {_HUB}/library/{name}")
    return Repository(registry, name)


def parse_reference(text: str, *, default_tag: str | None = None) -> Reference:
    """A reference from `HOST[:PORT]/NAME[:TAG][@DIGEST]`.

    Args:
        text: As people write it.
        default_tag: Used where there is neither tag nor digest; without it that is an error. There is no `latest`.

    Raises:
        UsageError: It is none.
        ImageError: The digest is none.
    """
    rest, at, digest = text.partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # the colon, if any, was the port's
        head, tag = rest, ""
    elif not tag:
        raise _wrong("not a tag", text, "NAME:TAG")
    repository = parse_repository(head)
    parsed = Digest(digest) if at else None
    return Reference(repository, tag or (default_tag if parsed is None else None), parsed)


def _names_a_host(text: str) -> bool:
    return "." in text or ":" in text or text == "localhost"


def _sound_address(name: str) -> bool:
    if not name.startswith("["):
        return True
    try:
        ipaddress.IPv6Address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _wrong(what: str, actual: str, expected: str) -> UsageError:
    return UsageError(what, expected=expected, actual=actual, advice="See docs/how-to/mirror-into-an-air-gap.md")
