"""The seam to the network: one request, one answer, nothing clever in between.

`http.HttpTransport` is the real one. Redirects, credentials, retries and verification are the client's, so a test's
in-memory registry meets all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol
from urllib.parse import urlsplit

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One HTTP request.

    Attributes:
        method: `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`.
        url: Absolute.
        headers: Names as the specification writes them.
        body: Whole, so that it can be sent again; uploads go in chunks.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    body: bytes = b""

    def __repr__(self) -> str:
        """Method and URL without its query: headers and queries hold secrets."""
        return f"{self.method} {self.url.partition('?')[0]}"


class Response(Protocol):
    """An answer whose body arrives while it is read."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name in lower case."""

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, once.

        Raises:
            RegistryUnavailable: The connection ended before the body did.
        """


class Transport(Protocol):
    """Carries requests to registries."""

    def send(self, request: Request) -> AbstractContextManager[Response]:
        """Send a request; the connection is free again when the block ends. Redirects are answers like others.

        Raises:
            RegistryUnavailable: No connection, or it broke or fell silent.
            RegistryError: The other side's certificate is not trusted.
        """


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what credentials are for.

    Raises:
        ValueError: The port is no number.
    """
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port
