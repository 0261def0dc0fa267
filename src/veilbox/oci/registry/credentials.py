"""Passwords for registries, from the files that docker, podman and skopeo keep.

Source: containers-auth.json(5) for the order of files and for keys that name a path below a registry; docker's
config.json for the same format and for credential helpers. They are read when they are needed and never written.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from veilbox.core.errors import RegistryDenied, UsageError
from veilbox.oci.process import run
from veilbox.oci.registry.reference import Repository

_HELPER = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)
_HELPER_TIMEOUT_S = 30.0

# docker-credential-helpers: what `get` prints and returns where it knows nothing.
_HELPER_KNOWS_NOTHING = "credentials not found"

# Docker's own registry is kept under the address of its first API.
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io")


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A user's name and password, or a token that stands for both.

    Attributes:
        username: Empty with an identity token.
        password: Secret; never shown.
        identity_token: Secret; exchanged for access tokens (OAuth2 refresh token).
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of a basic `Authorization` header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")


class CredentialSource:
    """Where credentials are looked for.

    Args:
        files: In order; those that are not there are skipped.
    """

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = files

    @classmethod
    def default(cls, environment: Mapping[str, str] = os.environ) -> CredentialSource:
        """The usual files of this user.

        Args:
            environment: `REGISTRY_AUTH_FILE` (then only that one), `XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME`,
                `DOCKER_CONFIG`, `HOME`.
        """
        named = environment.get("REGISTRY_AUTH_FILE")
        if named:
            if not Path(named).is_file():
                raise UsageError("no such file", where="REGISTRY_AUTH_FILE", actual=named)
            return cls((Path(named),))
        home = Path(environment.get("HOME") or "/nonexistent")
        config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
        docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
        runtime = environment.get("XDG_RUNTIME_DIR")
        first = (Path(runtime) / "containers" / "auth.json",) if runtime else ()
        return cls((*first, config / "containers" / "auth.json", docker / "config.json"))

    def find(self, repository: Repository) -> Credentials | None:
        """The most special credentials of the first file that has any; None for anonymous access.

        Raises:
            UsageError: A file is unreadable.
            RegistryDenied: A credential helper failed.
            MachineError: A credential helper is not installed.
        """
        for path in self._files:
            found = _in_file(path, repository)
            if found is not None:
                return found
        return None


class _Entry(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class _File(msgspec.Struct, frozen=True):
    auths: dict[str, _Entry] = {}
    creds_store: str = msgspec.field(name="credsStore", default="")
    cred_helpers: dict[str, str] = msgspec.field(name="credHelpers", default_factory=dict)


class _HelperAnswer(msgspec.Struct, frozen=True):
    username: str = msgspec.field(name="Username")
    secret: str = msgspec.field(name="Secret")


def _in_file(path: Path, repository: Repository) -> Credentials | None:
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError("credentials cannot be read", where=str(path), actual=error.strerror or "") from error
    try:
        file = msgspec.json.decode(raw, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # The parser's words may quote the file, and the file holds secrets.
        raise UsageError("not a file of credentials", where=str(path), expected="docker's config.json") from error
    return _found(file, path, repository)


def _found(file: _File, path: Path, repository: Repository) -> Credentials | None:
    for key in _keys(repository):
        if key in file.cred_helpers:
            return _from_helper(file.cred_helpers[key], key)
        if key in file.auths and (credentials := _from_entry(file.auths[key], path, key)) is not None:
            return credentials
    if file.creds_store:
        return _from_helper(file.creds_store, _store_key(repository))
    return None


def _keys(repository: Repository) -> Iterator[str]:
    """Most special first: host/a/b, host/a, host; then what docker writes for a whole host."""
    parts = str(repository).split("/")
    yield from ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    host = repository.registry
    yield from (f"https://{host}", f"https://{host}/", f"https://{host}/v1/", f"https://{host}/v2/")
    if repository.api_host != host:
        yield from _HUB_KEYS


def _store_key(repository: Repository) -> str:
    return repository.registry if repository.api_host == repository.registry else _HUB_KEYS[0]


def _from_entry(entry: _Entry, path: Path, key: str) -> Credentials | None:
    if entry.identitytoken:
        return Credentials(identity_token=entry.identitytoken)
    if entry.auth:
        return _decoded(entry.auth, path, key)
    return Credentials(username=entry.username, password=entry.password) if entry.username else None


def _decoded(auth: str, path: Path, key: str) -> Credentials:
    try:
        username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise UsageError("not base64 of NAME:PASSWORD", where=f"{path}: {key}") from error
    if not colon:
        raise UsageError("not base64 of NAME:PASSWORD", where=f"{path}: {key}")
    return Credentials(username=username, password=password.rstrip("\0"))


def _from_helper(name: str, key: str) -> Credentials | None:
    """Ask `docker-credential-NAME get`, which reads the registry's name and prints JSON."""
    if not _HELPER.fullmatch(name):
        raise UsageError("not the name of a credential helper", actual=name)
    program = f"docker-credential-{name}"
    finished = run(
        [program, "get"],
        timeout_s=_HELPER_TIMEOUT_S,
        stdin=key.encode(),
        check=False,
        advice=f"Install {program}, or take it out of the credentials file",
    )
    if finished.status != 0:
        if _HELPER_KNOWS_NOTHING in finished.stdout.decode("utf-8", "replace"):
            return None
        raise RegistryDenied("credential helper failed", where=program, actual=f"exit status {finished.status}")
    try:
        answer = msgspec.json.decode(finished.stdout, type=_HelperAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RegistryDenied("credential helper printed no credentials", where=program) from error
    if answer.username == "<token>":
        return Credentials(identity_token=answer.secret)
    return Credentials(username=answer.username, password=answer.secret)
