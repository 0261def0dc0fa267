"""The other side: a registry in memory that implements the transport's seam, and misbehaves where it is told to."""

# Handlers and faults share one signature each, whatever they need of it; the token host is no password.
# ruff: noqa: ARG001, ARG002, ARG005, PLR0911, S105

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from veilbox.core.errors import RegistryUnavailable
from veilbox.oci.registry.transport import Request

USER, PASSWORD = "robot", "s3cret:with colon"
TOKEN_HOST = "tokens.example.org"
CDN_HOST = "cdn.example.org"


class FakeClock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._now = 1000.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def wall(self) -> datetime:
        return datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC) + timedelta(seconds=self._now - 1000.0)

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self._now += seconds


@dataclass
class Answer:
    """A response of the seam; `cut` breaks the connection after so many bytes of the body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None

    def chunks(self) -> Iterator[bytes]:
        end = len(self.body) if self.cut is None else self.cut
        step = max(7, end // 50)
        for start in range(0, end, step):
            yield self.body[start : min(start + step, end)]
        if self.cut is not None:
            raise RegistryUnavailable("the connection failed", actual="cut by the test")


Fault = Callable[[Request, Callable[[], Answer]], Answer]


@dataclass
class Rule:
    """A fault for the next `times` requests that match."""

    method: str
    path: str
    fault: Fault
    times: int = 1

    def matches(self, request: Request) -> bool:
        found = re.search(self.path, request.url) is not None
        return self.times > 0 and request.method == self.method and found


def drop(request: Request, serve: Callable[[], Answer]) -> Answer:
    """No answer; the request never arrived."""
    raise RegistryUnavailable("the connection failed", where=repr(request))


def drop_after(request: Request, serve: Callable[[], Answer]) -> Answer:
    """The request was served and its answer was lost."""
    serve()
    raise RegistryUnavailable("the connection failed", where=repr(request))


def cut_at(count: int) -> Fault:
    def fault(request: Request, serve: Callable[[], Answer]) -> Answer:
        answer = serve()
        answer.cut = min(count, len(answer.body))
        return answer

    return fault


def changed_body(change: Callable[[bytes], bytes]) -> Fault:
    def fault(request: Request, serve: Callable[[], Answer]) -> Answer:
        answer = serve()
        answer.body = change(answer.body)
        answer.headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return answer

    return fault


def status(code: int, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request, serve: Answer(code, named, b'{"errors":[{"code":"TEST","message":"as told"}]}')


@dataclass
class MemoryRegistry:
    """A registry in memory.

    Attributes:
        host: Its name; other hosts are its token server and its content network, or nobody.
        auth: `none`, `basic` or `bearer`.
        referrers_api: Whether it knows referrers; otherwise clients keep the fallback tag.
        redirects: Whether blobs are fetched from another host.
        page: Entries of one page of tags.
        min_chunk: Smallest chunk that it takes, but for the last.
    """

    host: str = "registry.example.org"
    auth: str = "none"
    referrers_api: bool = True
    redirects: bool = False
    ranges: bool = True
    page: int = 1000
    token_life: int = 300
    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    log: list[Request] = field(default_factory=list)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.RLock()

    def fails(self, method: str, path: str, fault: Fault, times: int = 1) -> None:
        self.rules.append(Rule(method, path, fault, times))

    @contextmanager
    def send(self, request: Request) -> Iterator[Answer]:
        with self._lock:
            self.log.append(request)
            rule = next((rule for rule in self.rules if rule.matches(request)), None)
            if rule is not None:
                rule.times -= 1
                answer = rule.fault(request, lambda: self._serve(request))
            else:
                answer = self._serve(request)
            if request.method == "HEAD":
                answer.body = b""
        yield answer

    def seen(self, method: str, path: str) -> list[Request]:
        return [one for one in self.log if one.method == method and re.search(path, one.url)]

    def _serve(self, request: Request) -> Answer:
        url = urlsplit(request.url)
        if url.netloc == TOKEN_HOST and self.auth == "bearer":
            return self._token(request)
        if url.netloc == CDN_HOST and self.redirects:
            return self._cdn(request)
        if url.netloc != self.host:
            raise RegistryUnavailable("no such host", where=url.netloc)
        found = re.fullmatch(r"/v2/(.+?)/(manifests|blobs|tags|referrers)/(.*)", url.path)
        if found is None:
            return Answer(404)
        name, kind, rest = found[1], found[2], found[3]
        refusal = self._refusal(request, name)
        if refusal is not None:
            return refusal
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        handler: Callable[[Request, str, str, dict[str, str]], Answer] = getattr(self, f"_{kind}")
        return handler(request, name, rest, query)

    # Who may.

    def _refusal(self, request: Request, name: str) -> Answer | None:
        header = request.headers.get("Authorization", "")
        wanted = f"repository:{name}:pull" if request.method in {"GET", "HEAD"} else f"repository:{name}:pull,push"
        if self.auth == "basic" and header != _basic():
            return Answer(401, {"www-authenticate": 'Basic realm="here, or there"'})
        if self.auth == "bearer":
            granted = self.tokens.get(header.removeprefix("Bearer "), set())
            if not any(scope.startswith(wanted) for scope in granted):
                challenge = f'Bearer realm="https://{TOKEN_HOST}/token?x=1",service="{self.host}",scope="{wanted}"'
                return Answer(401, {"www-authenticate": challenge})
        return None

    def _token(self, request: Request) -> Answer:
        if request.headers.get("Authorization", "") != _basic():
            return Answer(401)
        scopes = set(parse_qs(urlsplit(request.url).query).get("scope", []))
        token = f"token-{len(self.tokens)}"
        self.tokens[token] = scopes
        return Answer(200, {}, json.dumps({"token": token, "expires_in": self.token_life}).encode())

    def _cdn(self, request: Request) -> Answer:
        assert "Authorization" not in request.headers, "credentials leaked to another host"
        name, _, digest = urlsplit(request.url).path[1:].rpartition("/")
        return self._content(request, self.blobs[name][digest])

    # What is there.

    def _manifests(self, request: Request, name: str, rest: str, query: dict[str, str]) -> Answer:
        stored = self.manifests.setdefault(name, {})
        if request.method == "PUT":
            return self._put_manifest(request, name, rest)
        digest = self.tags.get(name, {}).get(rest, rest)
        if digest not in stored:
            return Answer(404)
        media_type, raw = stored[digest]
        return Answer(200, {"content-type": media_type, "docker-content-digest": digest}, raw)

    def _put_manifest(self, request: Request, name: str, rest: str) -> Answer:
        document = json.loads(request.body)
        for blob in [document.get("config"), *document.get("layers", [])]:
            if blob is not None and blob["digest"] not in self.blobs.get(name, {}):
                return Answer(400, {}, b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}')
        for child in document.get("manifests", []):
            is_list_of_referrers = re.fullmatch(r"sha256-[0-9a-f]{64}", rest)
            if child["digest"] not in self.manifests[name] and not is_list_of_referrers:
                return Answer(400)
        digest = _digest(request.body)
        self.manifests[name][digest] = (request.headers["Content-Type"], request.body)
        if not rest.startswith("sha256:"):
            self.tags.setdefault(name, {})[rest] = digest
        headers = {"location": f"/v2/{name}/manifests/{digest}", "docker-content-digest": digest}
        if self.referrers_api and "subject" in document:
            headers["oci-subject"] = document["subject"]["digest"]
        return Answer(201, headers)

    def _blobs(self, request: Request, name: str, rest: str, query: dict[str, str]) -> Answer:
        stored = self.blobs.setdefault(name, {})
        if rest.startswith("uploads/"):
            return self._upload(request, name, rest.removeprefix("uploads/"), query)
        if rest not in stored:
            return Answer(404)
        if self.redirects and request.method == "GET":
            return Answer(307, {"location": f"https://{CDN_HOST}/{name}/{rest}"})
        return self._content(request, stored[rest])

    def _content(self, request: Request, content: bytes) -> Answer:
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if asked is None or not self.ranges:
            return Answer(200, {"content-length": str(len(content))}, content)
        start = int(asked[1])
        if start >= len(content):
            return Answer(416)
        return Answer(206, {"content-range": f"bytes {start}-{len(content) - 1}/{len(content)}"}, content[start:])

    def _upload(self, request: Request, name: str, upload: str, query: dict[str, str]) -> Answer:
        if request.method == "POST":
            return self._open_upload(name, query)
        held = self.uploads.get(upload)
        if held is None:
            return Answer(404)
        here = {"location": f"/v2/{name}/blobs/uploads/{upload}", "range": f"0-{max(0, len(held) - 1)}"}
        if request.method == "GET":
            return Answer(204, here)
        begins = re.match(r"(\d+)-", request.headers.get("Content-Range", ""))
        if begins is not None and int(begins[1]) != len(held):
            return Answer(416, here)
        held += request.body
        here["range"] = f"0-{max(0, len(held) - 1)}"
        if request.method == "PATCH":
            return Answer(202, here)
        del self.uploads[upload]
        if _digest(bytes(held)) != query["digest"]:
            return Answer(400, {}, b'{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}')
        self.blobs[name][query["digest"]] = bytes(held)
        return Answer(201, {"location": f"/v2/{name}/blobs/{query['digest']}"})

    def _open_upload(self, name: str, query: dict[str, str]) -> Answer:
        mounted = self.blobs.get(query.get("from", ""), {}).get(query.get("mount", ""))
        if mounted is not None:
            self.blobs[name][query["mount"]] = mounted
            return Answer(201, {"location": f"/v2/{name}/blobs/{query['mount']}"})
        self.count += 1
        self.uploads[str(self.count)] = bytearray()
        return Answer(202, {"location": f"/v2/{name}/blobs/uploads/{self.count}", "range": "0-0"})

    # What there is.

    def _tags(self, request: Request, name: str, rest: str, query: dict[str, str]) -> Answer:
        if name not in self.manifests:
            return Answer(404)
        tags = sorted(tag for tag in self.tags.get(name, {}) if tag > query.get("last", ""))
        page = min(self.page, int(query.get("n", self.page)))
        more = {"link": f'</v2/{name}/tags/list?n={page}&last={tags[page - 1]}>; rel="next"'} if tags[page:] else {}
        return Answer(200, more, json.dumps({"name": name, "tags": tags[:page]}).encode())

    def _referrers(self, request: Request, name: str, rest: str, query: dict[str, str]) -> Answer:
        if not self.referrers_api:
            return Answer(404)
        entries = []
        for digest, (media_type, raw) in self.manifests.get(name, {}).items():
            document = json.loads(raw)
            if document.get("subject", {}).get("digest") == rest:
                kind = document.get("artifactType") or document.get("config", {}).get("mediaType", "")
                notes = document.get("annotations", {})
                entry = {"mediaType": media_type, "digest": digest, "size": len(raw), "artifactType": kind}
                entries.append({**entry, "annotations": notes})
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
        return Answer(200, {"content-type": index["mediaType"]}, json.dumps(index).encode())  # type: ignore[dict-item]


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
