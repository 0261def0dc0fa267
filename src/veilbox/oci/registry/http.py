"""The one door to HTTP: the only file that imports httpx."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

import veilbox
from veilbox.core.errors import RegistryError, RegistryUnavailable, UsageError
from veilbox.oci.registry.transport import Request

# Seconds. A registry may think long before the first byte (it verifies what was uploaded); silence longer than this is
# a dead connection.
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)

# Bytes that are asked of the decoder at a time; blobs are compressed already and never decoded here.
_CHUNK = 1 << 18


class _HttpResponse:
    def __init__(self, request: Request, response: httpx.Response) -> None:
        self._request = request
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    def chunks(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_raw(_CHUNK)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _translated(self._request, error) from error


class HttpTransport:
    """HTTP/1.1 over TLS whose certificates are always verified, by the system's store.

    Args:
        ca_file: One more certificate authority, PEM.

    Raises:
        UsageError: The file holds no certificate.
    """

    def __init__(self, *, ca_file: Path | None = None) -> None:
        self._client = httpx.Client(
            verify=_trust(ca_file),
            timeout=_TIMEOUT,
            follow_redirects=False,
            headers={"User-Agent": f"veilbox/{veilbox.__version__}", "Accept-Encoding": "identity"},
        )

    @contextmanager
    def send(self, request: Request) -> Iterator[_HttpResponse]:
        """See `Transport.send`."""
        try:
            with self._client.stream(
                request.method, request.url, headers=dict(request.headers), content=request.body or None
            ) as response:
                yield _HttpResponse(request, response)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise _translated(request, error) from error

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()  # OpenSSL's own store; SSL_CERT_FILE and SSL_CERT_DIR name another
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise UsageError(
                "no certificate can be read", where=str(ca_file), expected="a PEM file", actual=str(error)
            ) from error
    return context


def _translated(request: Request, error: Exception) -> RegistryError:
    where, actual = repr(request), str(error) or type(error).__name__
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return RegistryError("not an address that can be asked", where=where, actual=actual)
    if _untrusted(error):
        return RegistryError(
            "the registry's certificate is not trusted",
            where=where,
            actual=actual,
            advice="Name its authority with --ca-file, or in SSL_CERT_FILE",
        )
    return RegistryUnavailable("the connection failed", where=where, actual=actual, advice="Try again later")


def _untrusted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
