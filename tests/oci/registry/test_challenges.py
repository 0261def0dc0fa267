from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_registry import Answer, FakeClock
from sides import auth_file

from veilbox.core.errors import RegistryDenied, RegistryError, UsageError
from veilbox.oci.registry.auth import Authenticator, parse_challenges
from veilbox.oci.registry.credentials import CredentialSource
from veilbox.oci.registry.reference import Repository
from veilbox.oci.registry.retry import Backoff, RateGate, retry_after_s
from veilbox.oci.registry.session import Session
from veilbox.oci.registry.transport import Request

HERE = Repository("h.io", "a")
URL = "https://h.io/v2/a/tags/list"

HEADERS = {
    'Basic realm="x"': [("basic", {"realm": "x"})],
    "Basic": [("basic", {})],
    'Bearer realm="https://t/x?y=1,2",service="s",scope="repository:a:pull,push"': [
        ("bearer", {"realm": "https://t/x?y=1,2", "service": "s", "scope": "repository:a:pull,push"})
    ],
    'bearer Realm="a\\"b" , service=plain': [("bearer", {"realm": 'a"b', "service": "plain"})],
    'Negotiate, Basic realm="x"': [("negotiate", {}), ("basic", {"realm": "x"})],
    'Basic realm="x", Bearer realm="y"': [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})],
    "": [],
    '"': [],
}


@pytest.mark.parametrize("header", HEADERS)
def test_challenges(header: str) -> None:
    assert [(one.scheme, dict(one.parameters)) for one in parse_challenges(header)] == HEADERS[header]


@given(st.text(max_size=80))
def test_any_header_is_read_to_an_end(header: str) -> None:
    parse_challenges(header)


class TokenServer:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Request] = []

    @contextmanager
    def send(self, request: Request) -> Iterator[Answer]:
        self.asked.append(request)
        yield self.answer


def answered(folder: Path, answer: Answer, header: str = 'Bearer realm="https://t.io/token",service="s"') -> str:
    authenticator = Authenticator(TokenServer(answer), auth_file(folder, "h.io"), FakeClock())
    return authenticator.answer(URL, HERE, frozenset({"repository:a:pull"}), header)


@pytest.mark.parametrize("field", ["token", "access_token"])
def test_both_names_of_a_token(tmp_path: Path, field: str) -> None:
    assert answered(tmp_path, Answer(200, {}, json.dumps({field: "abc"}).encode())) == "Bearer abc"


NO_TOKENS = {
    "nothing": b"{}",
    "not JSON": b"<html>",
    "a list": b"[]",
    "header injection": json.dumps({"token": "a\r\nX: y"}).encode(),
    "not ASCII": json.dumps({"token": "\u00e9"}).encode(),
    "endless": b'"' + b"x" * (2 << 20),
}


@pytest.mark.parametrize("body", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_is_refused(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(RegistryError, match="token"):
        answered(tmp_path, Answer(200, {}, body))


def test_the_server_s_refusal_is_ours(tmp_path: Path) -> None:
    with pytest.raises(RegistryDenied, match="refuses these credentials"):
        answered(tmp_path, Answer(401))
    with pytest.raises(RegistryError, match="500"):
        answered(tmp_path, Answer(500))


def test_an_unknown_proof_is_not_tried(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="Bearer or Basic"):
        answered(tmp_path, Answer(200), "Negotiate")


def test_an_identity_token_is_exchanged(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {"h.io": {"identitytoken": "refresh"}}}))
    server = TokenServer(Answer(200, {}, b'{"access_token": "abc"}'))
    authenticator = Authenticator(server, CredentialSource((path,)), FakeClock())
    header = authenticator.answer(URL, HERE, frozenset({"repository:a:pull"}), 'Bearer realm="https://t.io/x"')
    assert header == "Bearer abc"
    form = parse_qs(server.asked[0].body.decode())
    assert (form["grant_type"], form["refresh_token"]) == (["refresh_token"], ["refresh"])


def test_a_token_is_used_until_shortly_before_its_end(tmp_path: Path) -> None:
    clock = FakeClock()
    server = TokenServer(Answer(200, {}, b'{"token": "abc", "expires_in": 60}'))
    authenticator = Authenticator(server, auth_file(tmp_path, "h.io"), clock)
    scopes = frozenset({"repository:a:pull"})
    assert authenticator.header(HERE, scopes) is None
    authenticator.answer(URL, HERE, scopes, 'Bearer realm="https://t.io/x"')
    assert authenticator.header(HERE, scopes) == "Bearer abc"
    assert authenticator.header(HERE, frozenset({"repository:a:pull,push"})) is None
    assert authenticator.header(Repository("other.io", "a"), scopes) is None
    clock.sleep(55)
    assert authenticator.header(HERE, scopes) is None


NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
RETRY_AFTER = {
    None: None,
    "": None,
    "soon": None,
    "-5": None,
    "0": 0.0,
    " 7 ": 7.0,
    "9" * 40: 999_999_999.0,
    "Tue, 24 Nov 2026 12:01:00 GMT": 60.0,
    "Tue, 24 Nov 2026 11:00:00 GMT": 0.0,
    "Tue, 24 Nov 2026 12:01:00 -0000": 60.0,
}


@pytest.mark.parametrize("text", RETRY_AFTER)
def test_retry_after(text: str | None) -> None:
    assert retry_after_s(text, NOW) == RETRY_AFTER[text]


def test_backoff_doubles_within_bounds() -> None:
    backoff = Backoff(first_s=1, limit_s=5)
    for attempt, full in ((1, 1), (2, 2), (3, 4), (4, 5), (9, 5)):
        assert full / 2 <= backoff.delay_s(attempt) <= full


def test_a_closed_gate_keeps_everybody_of_one_host_waiting() -> None:
    clock = FakeClock()
    gate = RateGate(clock)
    gate.close_for("h:443", 30)
    gate.close_for("h:443", 10)
    gate.pass_through("other:443")
    assert clock.slept == []
    gate.pass_through("h:443")
    assert clock.slept == [30]
    gate.pass_through("h:443")
    assert clock.slept == [30]


@pytest.mark.parametrize("registry", ["localhost:5000", "127.0.0.1:5000", "[::1]:5000"])
def test_plain_http_on_this_machine(tmp_path: Path, registry: str) -> None:
    session = Session(transport=TokenServer(Answer(200)), credentials=auth_file(tmp_path, "h.io"), plain_http=True)
    assert session.url(Repository(registry, "a"), "tags/list") == f"http://{registry}/v2/a/tags/list"


@pytest.mark.parametrize("registry", ["h.io", "10.0.0.1:5000", "localhost.example.org"])
def test_plain_http_to_elsewhere_is_refused(tmp_path: Path, registry: str) -> None:
    session = Session(transport=TokenServer(Answer(200)), credentials=auth_file(tmp_path, "h.io"), plain_http=True)
    with pytest.raises(UsageError, match="without TLS"):
        session.url(Repository(registry, "a"), "tags/list")
