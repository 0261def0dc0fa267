"""Asking a registry until it answers: challenge, redirect, wait, try again.

What may be wrong with a connection is dealt with here, once; what is wrong with content is for `client`.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin

import msgspec

from veilbox.core.errors import RegistryDenied, RegistryError, RegistryUnavailable, UsageError
from veilbox.oci.registry.auth import Authenticator, TokenServerBusy
from veilbox.oci.registry.credentials import CredentialSource
from veilbox.oci.registry.reference import Repository
from veilbox.oci.registry.retry import RETRIED_STATUSES, Backoff, Clock, RateGate, SystemClock, retry_after_s
from veilbox.oci.registry.transport import Request, Response, Transport, origin

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5

# Enough for the specification's error document; more is not worth reading.
_MAX_ERROR_BYTES = 16 << 10

PULL = "pull"
PUSH = "pull,push"


class _Fault(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class _Faults(msgspec.Struct, frozen=True):
    errors: list[_Fault] = []


def scope(repository: Repository, actions: str) -> str:
    """What a token is for, in the token specification's words."""
    return f"repository:{repository.name}:{actions}"


@dataclass(kw_only=True)
class Session:
    """One run's dealings with registries; safe to use from several threads.

    Attributes:
        transport: The network.
        credentials: Where passwords are.
        clock: Time.
        backoff: How patient.
        plain_http: Ask without TLS; only registries on this very machine.
        cancelled: Once set, nothing more is asked.
    """

    transport: Transport
    credentials: CredentialSource
    cancelled: threading.Event = field(default_factory=threading.Event)
    clock: Clock = field(default_factory=SystemClock)
    backoff: Backoff = field(default_factory=Backoff)
    plain_http: bool = False

    def __post_init__(self) -> None:
        self._authenticator = Authenticator(self.transport, self.credentials, self.clock)
        self._gate = RateGate(self.clock)

    def url(self, repository: Repository, path: str) -> str:
        """An address of the API (`/v2/NAME/PATH`).

        Raises:
            UsageError: Plain HTTP was asked for, and the registry is another machine.
        """
        if self.plain_http and not repository.is_loopback:
            raise UsageError(
                "without TLS anybody on the way reads and changes what is sent",
                where=repository.registry,
                expected="a registry on this machine for --plain-http",
                advice="Give the registry a certificate, and name its authority with --ca-file",
            )
        scheme = "http" if self.plain_http else "https"
        return f"{scheme}://{repository.api_host}/v2/{repository.name}/{path}"

    @contextmanager
    def ask(
        self,
        request: Request,
        repository: Repository,
        scopes: Collection[str],
        *,
        expected: Collection[int],
        repeat: bool = True,
    ) -> Iterator[Response]:
        """Send a request and give its answer; the body may be read within the block.

        Args:
            request: With an address of `url`, or one that the registry named.
            repository: Whose registry and credentials.
            scopes: See `scope`.
            expected: Statuses that are answers; others are errors.
            repeat: Whether it may be sent again after a broken connection or a status that asks for patience.

        Raises:
            RegistryDenied: Credentials are missing or refused.
            RegistryUnavailable: It failed as often as it may.
            RegistryError: Another status, or a redirect that may not be followed.
        """
        attempts = self.backoff.attempts if repeat else 1
        with ExitStack() as stack:
            yield self._persist(stack, request, repository, frozenset(scopes), expected, attempts)

    def wait(self, attempt: int) -> None:
        """Wait before another attempt at something larger than one request."""
        self.clock.sleep(self.backoff.delay_s(attempt))

    def check(self) -> None:
        """Stop here if the run was called off.

        Raises:
            RegistryUnavailable: It was; the error that called it off is the one to show.
        """
        if self.cancelled.is_set():
            raise RegistryUnavailable("called off")

    def _persist(
        self,
        stack: ExitStack,
        request: Request,
        repository: Repository,
        scopes: frozenset[str],
        expected: Collection[int],
        attempts: int,
    ) -> Response:
        for attempt in range(1, attempts + 1):
            last = attempt == attempts
            with ExitStack() as held:
                response = self._attempt(held, request, repository, scopes, last=last)
                if response is not None and response.status in expected:
                    stack.push(held.pop_all())
                    return response
                if response is not None:
                    self._turn_away(response, request, last=last)
            self._cool_down(response, attempt)
        raise RegistryUnavailable("no attempts left", where=repr(request))

    def _attempt(
        self, held: ExitStack, request: Request, repository: Repository, scopes: frozenset[str], *, last: bool
    ) -> Response | None:
        """The answer, or None if there was none and it may be tried again."""
        try:
            return self._follow(held, request, repository, scopes)
        except TokenServerBusy as busy:
            if last or self.cancelled.is_set() or (busy.asked_s or 0.0) > self.backoff.patience_s:
                raise
            self.clock.sleep(busy.asked_s or 0.0)
            return None
        except RegistryUnavailable:
            if last or self.cancelled.is_set():
                raise
            return None

    def _turn_away(self, response: Response, request: Request, *, last: bool) -> None:
        """Return if another attempt makes sense."""
        if response.status in RETRIED_STATUSES:
            asked = self._asked_s(response)
            bearable = asked is None or asked <= self.backoff.patience_s
            if bearable:
                self._gate.close_for(_host(request.url), asked or 0.0)  # every worker waits, not only this one
            if bearable and not last:
                return
            raise RegistryUnavailable(
                "the registry is overloaded or asks to wait",
                where=repr(request),
                actual=_words(response) + (f", wait {asked:.0f} s" if asked is not None else ""),
                advice="Try again later",
            )
        if response.status in {401, 403}:
            raise RegistryDenied(
                "the registry does not allow it", where=repr(request), actual=_words(response), advice="Ask its owner"
            )
        raise RegistryError("unexpected answer", where=repr(request), actual=_words(response))

    def _cool_down(self, response: Response | None, attempt: int) -> None:
        if response is None or self._asked_s(response) is None:
            self.wait(attempt)

    def _asked_s(self, response: Response) -> float | None:
        return retry_after_s(response.headers.get("retry-after"), self.clock.wall())

    def _follow(self, held: ExitStack, request: Request, repository: Repository, scopes: frozenset[str]) -> Response:
        """One attempt: answers a challenge, follows redirects. Credentials stay with the registry's own origin."""
        home = _origin(self.url(repository, ""))
        for _ in range(_MAX_REDIRECTS + 1):
            mine = _origin(request.url) == home
            response = self._authorized(held, request, repository, scopes) if mine else self._send(held, request)
            if response.status not in _REDIRECTS:
                return response
            target = self._redirect(request, response, home)
            held.close()
            request = replace(request, url=target)
        raise RegistryError("too many redirects", where=repr(request), expected=f"at most {_MAX_REDIRECTS}")

    def _authorized(
        self, held: ExitStack, request: Request, repository: Repository, scopes: frozenset[str]
    ) -> Response:
        header = self._authenticator.header(repository, scopes)
        response = self._send(held, _with_authorization(request, header))
        if response.status != 401:
            return response
        challenge = response.headers.get("www-authenticate", "")
        held.close()
        header = self._authenticator.answer(request.url, repository, scopes, challenge)
        return self._send(held, _with_authorization(request, header))

    def _send(self, held: ExitStack, request: Request) -> Response:
        self._gate.pass_through(_host(request.url))
        self.check()
        return held.enter_context(self.transport.send(request))

    def _redirect(self, request: Request, response: Response, home: tuple[str, str, int | None]) -> str:
        target = urljoin(request.url, response.headers.get("location", ""))
        scheme, host, _ = _origin(target)
        if request.method not in {"GET", "HEAD"} or "location" not in response.headers:
            raise RegistryError("a redirect that may not be followed", where=repr(request), actual=_words(response))
        if scheme != "https" and not (home[0] == "http" and host == home[1]):
            raise RegistryError("redirect to where there is no TLS", where=repr(request), actual=f"{scheme}://{host}")
        return target

    def location(self, request: Request, response: Response, repository: Repository) -> str:
        """Where an upload goes on, as the answer says.

        Raises:
            RegistryError: The answer does not say, or names a place without TLS.
        """
        target = urljoin(request.url, response.headers.get("location", ""))
        scheme, host, _ = _origin(target)
        home = _origin(self.url(repository, ""))
        if "location" not in response.headers:
            raise RegistryError("answer without a location", where=repr(request))
        if scheme == "http" and home[0] == "https" and host == home[1]:
            # A registry behind a proxy that ends TLS does not know better; the place is its own.
            return f"https:{target.partition(':')[2]}"
        if scheme != home[0]:
            raise RegistryError("upload to where there is no TLS", where=repr(request), actual=f"{scheme}://{host}")
        return target


def _with_authorization(request: Request, header: str | None) -> Request:
    if header is None:
        return request
    return replace(request, headers={**request.headers, "Authorization": header})


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        return origin(url)
    except ValueError as error:
        raise RegistryError("not an address", actual=url.partition("?")[0]) from error


def _host(url: str) -> str:
    _, host, port = _origin(url)
    return f"{host}:{port}"


def _words(response: Response) -> str:
    """The status, and what the specification's error document says, if that is what came."""
    raw = b""
    try:
        for chunk in response.chunks():
            raw += chunk
            if len(raw) > _MAX_ERROR_BYTES:
                break
        faults = msgspec.json.decode(raw, type=_Faults).errors
    except (msgspec.DecodeError, UnicodeDecodeError, RegistryUnavailable):
        faults = []
    said = "; ".join(f"{fault.code}: {fault.message}".strip(": ") for fault in faults)
    return f"status {response.status}" + (f" ({said})" if said else "")
