"""Answering a registry's challenge: basic passwords, or bearer tokens from the server that it names.

Source: RFC 9110, 11.6.1 (WWW-Authenticate); Docker Registry v2 authentication via a central service (token request,
scopes, OAuth2 variant), which every registry follows.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from veilbox.core.errors import RegistryDenied, RegistryError, RegistryUnavailable
from veilbox.oci.registry.credentials import Credentials, CredentialSource
from veilbox.oci.registry.reference import Repository
from veilbox.oci.registry.retry import RETRIED_STATUSES, Clock, retry_after_s
from veilbox.oci.registry.transport import Request, Response, Transport, origin

# Token authentication specification: 60 seconds where the answer does not say; we stop using a token a little before.
_DEFAULT_LIFE_S = 60.0
_MARGIN_S = 10.0

_MAX_TOKEN_BYTES = 1 << 20
_CLIENT_ID = "veilbox"

_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9-]*)(?=[\s,]|$)", re.ASCII)
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenge:
    """One way that a server offers to prove who asks.

    Attributes:
        scheme: Lower case: `basic`, `bearer`.
        parameters: Names in lower case.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def parse_challenges(text: str) -> tuple[Challenge, ...]:
    """The challenges of a `WWW-Authenticate` header, in order; what cannot be read ends the list."""
    found: list[Challenge] = []
    position = 0
    while (scheme := _SCHEME.match(text, position)) is not None:
        position = scheme.end()
        parameters: dict[str, str] = {}
        while (parameter := _PARAMETER.match(text, position)) is not None:
            quoted = parameter[2]
            value = parameter[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters[parameter[1].lower()] = value
            position = parameter.end()
        found.append(Challenge(scheme=scheme[1].lower(), parameters=parameters))
    return tuple(found)


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: float = _DEFAULT_LIFE_S


@dataclass(frozen=True, slots=True)
class _Grant:
    header: str = field(repr=False)
    until: float


_Key = tuple[str, frozenset[str]]


class Authenticator:
    """Knows the `Authorization` header for a registry and a scope, once a challenge was answered.

    Credentials go to the registry itself (basic) or to the token server that the registry names over verified TLS
    (bearer), and to nobody else; see `session` for what redirects lose.

    Args:
        transport: For token requests.
        credentials: Where passwords are.
        clock: For the life of tokens.
    """

    def __init__(self, transport: Transport, credentials: CredentialSource, clock: Clock) -> None:
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self._grants: dict[_Key, _Grant] = {}
        self._lock = threading.Lock()

    def header(self, repository: Repository, scopes: frozenset[str]) -> str | None:
        """What to send unasked: the last answer that still holds, or nothing."""
        with self._lock:
            grant = self._grants.get((repository.registry, scopes))
        return grant.header if grant is not None and grant.until > self._clock.now() else None

    def answer(self, url: str, repository: Repository, scopes: frozenset[str], challenge_header: str) -> str:
        """Answer a 401.

        Args:
            url: What was asked; a password only goes where it went.
            repository: Whose credentials.
            scopes: What we want to do, `repository:NAME:pull,push`.
            challenge_header: The `WWW-Authenticate` header.

        Returns:
            The `Authorization` header to try.

        Raises:
            RegistryDenied: There are no credentials, or the token server refuses them.
            RegistryError: No challenge that we understand, or one that would send passwords in the clear.
        """
        offered = {challenge.scheme: challenge for challenge in reversed(parse_challenges(challenge_header))}
        credentials = self._credentials.find(repository)
        if "bearer" in offered:
            grant = self._fetch(url, offered["bearer"], scopes, credentials, repository)
        elif "basic" in offered:
            grant = _Grant(_basic(credentials, repository), float("inf"))
        else:
            raise RegistryError(
                "the registry asks for a proof of identity that we do not know",
                where=str(repository),
                expected="Bearer or Basic",
                actual=", ".join(offered) or "none",
            )
        with self._lock:
            self._grants[repository.registry, scopes] = grant
        return grant.header

    def _fetch(
        self,
        url: str,
        challenge: Challenge,
        scopes: frozenset[str],
        credentials: Credentials | None,
        repository: Repository,
    ) -> _Grant:
        realm = _checked_realm(challenge.parameters.get("realm", ""), url, repository)
        service = challenge.parameters.get("service", "")
        request = _token_request(realm, service, sorted(scopes), credentials)
        with self._transport.send(request) as response:
            if response.status in {400, 401, 403}:
                raise _denied(repository, credentials, response.status)
            if response.status in RETRIED_STATUSES:
                asked = retry_after_s(response.headers.get("retry-after"), self._clock.wall())
                raise TokenServerBusy(request, response.status, asked)
            if response.status != 200:
                raise RegistryError("no token", where=repr(request), expected="200", actual=str(response.status))
            token = _parsed(response, request)
        life = max(0.0, token.expires_in - _MARGIN_S)
        return _Grant(f"Bearer {token.token or token.access_token}", self._clock.now() + life)


class TokenServerBusy(RegistryUnavailable):
    """The token server gave no token, and may give one later.

    Args:
        request: What it was asked.
        status: What it answered.
        asked_s: Seconds that it asks to wait; None if it does not say.
    """

    def __init__(self, request: Request, status: int, asked_s: float | None) -> None:
        super().__init__(
            "the token server is overloaded or asks to wait",
            where=repr(request),
            actual=f"status {status}" + (f", wait {asked_s:.0f} s" if asked_s is not None else ""),
            advice="Try again later",
        )
        self.asked_s = asked_s


def _basic(credentials: Credentials | None, repository: Repository) -> str:
    if credentials is None or not credentials.username:
        raise _denied(repository, credentials, 401)
    return credentials.basic


def _checked_realm(realm: str, url: str, repository: Repository) -> str:
    """A token server gets passwords: over TLS, or on this machine if the registry itself is asked in the clear."""
    try:
        scheme, host, _ = origin(realm)
    except ValueError:
        scheme, host = "", ""
    clear = scheme == "http" and url.startswith("http://") and host in {"localhost", "127.0.0.1", "::1"}
    if not host or not (scheme == "https" or clear):
        raise RegistryError("token server without TLS", where=str(repository), expected="https://…", actual=realm)
    return realm


def _token_request(realm: str, service: str, scopes: list[str], credentials: Credentials | None) -> Request:
    if credentials is not None and credentials.identity_token:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": credentials.identity_token,
            "service": service,
            "scope": " ".join(scopes),
            "client_id": _CLIENT_ID,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Request(method="POST", url=realm, headers=headers, body=urlencode(form).encode())
    parts = urlsplit(realm)
    query = [*parse_qsl(parts.query, keep_blank_values=True)]
    query += [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    url = urlunsplit(parts._replace(query=urlencode(query)))
    return Request(method="GET", url=url, headers={"Authorization": credentials.basic} if credentials else {})


def _parsed(response: Response, request: Request) -> _Token:
    raw = b""
    for chunk in response.chunks():
        raw += chunk
        if len(raw) > _MAX_TOKEN_BYTES:
            raise RegistryError("token is too large", where=repr(request))
    try:
        token = msgspec.json.decode(raw, type=_Token)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RegistryError("not a token", where=repr(request)) from error
    text = token.token or token.access_token
    if not text or not text.isascii() or not text.isprintable():
        raise RegistryError("not a token", where=repr(request))
    return token


def _denied(repository: Repository, credentials: Credentials | None, status: int) -> RegistryDenied:
    if credentials is None:
        return RegistryDenied(
            "the registry wants credentials",
            where=str(repository),
            actual=f"none in the usual files, status {status}",
            advice="Log in with podman, skopeo or docker, or name a file in REGISTRY_AUTH_FILE",
        )
    return RegistryDenied(
        "the registry refuses these credentials",
        where=str(repository),
        actual=f"user {credentials.username or 'by token'}, status {status}",
        advice="Log in again",
    )
