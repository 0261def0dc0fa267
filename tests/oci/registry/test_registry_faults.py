"""Everything that goes wrong between us and a registry: what is tried again, what is refused, what never leaks."""

# Faults share one signature, whatever they need of it.
# ruff: noqa: ARG001

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from images import Sample, blob_names, image, leftovers, noise, with_sbom
from memory_registry import (
    CDN_HOST,
    TOKEN_HOST,
    Answer,
    FakeClock,
    Fault,
    MemoryRegistry,
    changed_body,
    cut_at,
    drop,
    drop_after,
    status,
)
from sides import memory_side, quiet
from steps import PULL_STEPS, PUSH_STEPS

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, RegistryDenied, RegistryError, RegistryUnavailable
from veilbox.oci.image.lease import lease
from veilbox.oci.image.spec import LAYER_TYPE
from veilbox.oci.image.store import ImageStore
from veilbox.oci.registry.content import Way
from veilbox.oci.registry.images import fetch, push
from veilbox.oci.registry.local import LayoutPlace
from veilbox.oci.registry.transfer import Moved
from veilbox.oci.registry.transport import Request


@dataclass
class Rig:
    registry: MemoryRegistry
    store: ImageStore
    other: ImageStore
    sample: Sample
    folder: Path

    def push(self, *, attempts: int = 4) -> Moved:
        side = memory_side(self.registry, self.folder)
        return push(self.store, side.connection(attempts=attempts), "one", side.reference("one"), quiet)

    def pull(self, *, attempts: int = 4) -> Moved:
        side = memory_side(self.registry, self.folder)
        side.clock = self.clock
        with lease(self.other.root) as held:
            return fetch(self.other, side.connection(attempts=attempts), side.reference("one"), quiet, held)

    def __post_init__(self) -> None:
        self.clock = FakeClock()

    def is_whole(self) -> bool:
        return blob_names(self.other.layout.root) == blob_names(self.store.layout.root)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    registry = MemoryRegistry(referrers_api=False)
    store, other = ImageStore(tmp_path / "store"), ImageStore(tmp_path / "other")
    for one in (store, other):
        one.prepare()
    return Rig(registry, store, other, with_sbom(image(store.layout, "one")), tmp_path)


PASSING: dict[str, Fault] = {
    "no answer": drop,
    "the answer is lost": drop_after,
    "500": status(500),
    "503 with Retry-After": status(503, retry_after="3"),
    "429 with Retry-After": status(429, retry_after="3"),
    "429 without": status(429),
    "408": status(408),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize(("method", "path"), PULL_STEPS.values(), ids=PULL_STEPS)
def test_a_pull_survives_a_passing_fault_at_each_step(rig: Rig, method: str, path: str, fault: Fault) -> None:
    rig.push()
    rig.registry.fails(method, path, fault)
    rig.pull()
    assert rig.registry.rules[0].times == 0
    assert rig.is_whole()
    assert leftovers(rig.other.layout.root) == []


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize(("method", "path"), PUSH_STEPS.values(), ids=PUSH_STEPS)
def test_a_push_survives_a_passing_fault_at_each_step(rig: Rig, method: str, path: str, fault: Fault) -> None:
    rig.registry.fails(method, path, fault)
    rig.push()
    assert rig.registry.rules[0].times == 0
    rig.pull()
    assert rig.is_whole()
    assert len(rig.other.layout.referrers(rig.sample.manifest.digest)) == 1


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize("host", [TOKEN_HOST, CDN_HOST])
def test_a_passing_fault_of_the_token_server_or_of_the_content_s_host_is_survived(
    rig: Rig, host: str, fault: Fault
) -> None:
    rig.registry.auth, rig.registry.redirects = "bearer", True
    rig.push()
    rig.registry.rules.clear()
    rig.registry.fails("GET", f"//{host}/", fault)
    rig.pull()
    assert rig.registry.rules[0].times == 0
    assert rig.is_whole()
    assert leftovers(rig.other.layout.root) == []


@pytest.mark.parametrize(("asked", "slept"), [("30", True), ("3600", False)])
def test_a_token_server_is_waited_for_as_a_registry_is(rig: Rig, asked: str, slept: bool) -> None:
    rig.registry.auth = "bearer"
    rig.push()
    rig.registry.fails("GET", f"//{TOKEN_HOST}/", status(429, retry_after=asked))
    if slept:
        rig.pull()
        assert rig.clock.now() >= 1030
    else:
        with pytest.raises(RegistryUnavailable, match=r"token server .* wait 3600 s"):
            rig.pull()
        assert rig.clock.slept == []


@pytest.mark.parametrize(("method", "path"), PULL_STEPS.values(), ids=PULL_STEPS)
@pytest.mark.parametrize("count", [0, 1, 50])
def test_a_body_that_breaks_off_is_gone_on_with(rig: Rig, method: str, path: str, count: int) -> None:
    rig.push()
    if path == "/referrers/":
        rig.registry.referrers_api = True
    rig.registry.fails(method, path, cut_at(count))
    rig.pull()
    assert rig.is_whole()


@pytest.mark.parametrize(("method", "path"), [*PULL_STEPS.values()], ids=PULL_STEPS)
def test_a_fault_that_stays_ends_the_pull_and_leaves_no_name(rig: Rig, method: str, path: str) -> None:
    rig.push()
    rig.registry.fails(method, path, drop, times=1000)
    with pytest.raises(RegistryUnavailable, match="connection failed"):
        rig.pull()
    assert rig.other.layout.index() == ()
    assert all(Digest.of((rig.other.layout.root / "blobs/sha256" / name).read_bytes()).hex == name
               for name in blob_names(rig.other.layout.root))  # fmt: skip


def test_a_download_goes_on_where_it_was(rig: Rig) -> None:
    rig.push()
    blob = rig.sample.layers[0].digest
    rig.registry.fails("GET", f"/blobs/{blob}", cut_at(400), times=2)  # from 0 to 400, from 400 to 800
    rig.pull()
    ranges = [one.headers.get("Range") for one in rig.registry.seen("GET", f"/blobs/{blob}")]
    assert ranges == [None, "bytes=400-", "bytes=800-"]
    assert rig.is_whole()


def test_a_download_goes_on_in_the_next_run(rig: Rig) -> None:
    rig.push()
    blob = rig.sample.layers[0].digest
    rig.registry.fails("GET", f"/blobs/{blob}", cut_at(400))
    rig.registry.fails("GET", f"/blobs/{blob}", drop, times=1)
    with pytest.raises(RegistryUnavailable):
        rig.pull(attempts=1)
    assert f"{blob.hex}.part" in leftovers(rig.other.layout.root)
    rig.registry.log.clear()
    rig.registry.rules.clear()
    rig.pull()
    assert [one.headers.get("Range") for one in rig.registry.seen("GET", f"/blobs/{blob}")] == ["bytes=400-"]
    assert rig.is_whole()
    assert leftovers(rig.other.layout.root) == []


def test_wrong_bytes_of_an_earlier_run_are_given_up(rig: Rig) -> None:
    rig.push()
    blob = rig.sample.layers[0]
    part = rig.other.layout.root / ".incoming" / f"{blob.digest.hex}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"?" * 300)
    rig.pull()
    assert rig.is_whole()


BODIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "one bit flipped": (lambda body: bytes([body[0] ^ 1]) + body[1:], "not|wrong"),
    "one byte short": (lambda body: body[:-1], "short|size|not a|not what|wrong"),
    "one byte more": (lambda body: body + b"\n", "long|size|not what|wrong"),
    "empty": (lambda _: b"", "short|size|not a|not what|wrong"),
    "another blob": (lambda body: noise(77, len(body)), "not|wrong"),
}


@pytest.mark.parametrize(("change", "message"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    ("method", "path"), [PULL_STEPS[step] for step in ("manifest by tag", "manifest by digest", "blob")]
)
def test_a_body_of_other_bytes_is_refused(
    rig: Rig, method: str, path: str, change: Callable[[bytes], bytes], message: str
) -> None:
    rig.push()
    rig.registry.fails(method, path, changed_body(change), times=1000)
    with pytest.raises(ImageError, match=message):
        rig.pull()
    assert rig.other.layout.index() == ()
    folder = rig.other.layout.root / "blobs" / "sha256"
    assert all(Digest.of((folder / name).read_bytes()).hex == name for name in blob_names(rig.other.layout.root))
    wrong = rig.sample.manifest.digest if path.startswith("/manifests") else rig.sample.layers[0].digest
    assert wrong.hex not in blob_names(rig.other.layout.root)


def test_a_tag_that_contradicts_its_digest_header_is_refused(rig: Rig) -> None:
    rig.push()

    def lies(request: Request, serve: Callable[[], Answer]) -> Answer:
        answer = serve()
        answer.headers = {**answer.headers, "docker-content-digest": Digest.of(b"another").text}
        return answer

    rig.registry.fails("GET", "/manifests/1.0$", lies)
    with pytest.raises(RegistryError, match="not what its digest says"):
        rig.pull()


def test_retry_after_is_waited_for_by_all_workers(rig: Rig) -> None:
    rig.push()
    rig.registry.fails("GET", "/blobs/sha256:", status(429, retry_after="30"))
    rig.pull()
    assert max(rig.clock.slept) == pytest.approx(30, abs=1)
    assert rig.clock.now() >= 1030


def test_retry_after_may_be_a_date(rig: Rig) -> None:
    rig.push()
    rig.registry.fails("GET", "/manifests/1.0$", status(429, retry_after="Tue, 24 Nov 2026 12:00:45 GMT"))
    rig.pull()
    assert max(rig.clock.slept) == pytest.approx(45, abs=1)


def test_an_hour_is_not_waited(rig: Rig) -> None:
    rig.push()
    rig.registry.fails("GET", "/manifests/1.0$", status(429, retry_after="3600"))
    with pytest.raises(RegistryUnavailable, match="wait 3600 s"):
        rig.pull()
    assert rig.clock.slept == []


@pytest.mark.parametrize("code", [400, 405, 410, 418])
def test_what_is_not_worth_repeating_is_not_repeated(rig: Rig, code: int) -> None:
    rig.push()
    rig.registry.log.clear()
    rig.registry.fails("GET", "/manifests/1.0$", status(code), times=9)
    with pytest.raises(RegistryError, match=rf"status {code} \(TEST: as told\)"):
        rig.pull()
    assert len(rig.registry.seen("GET", "/manifests/1.0$")) == 1


def test_403_is_denied(rig: Rig) -> None:
    rig.push()
    rig.registry.fails("GET", "/manifests/1.0$", status(403))
    with pytest.raises(RegistryDenied):
        rig.pull()


# Uploads.


@pytest.fixture
def chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veilbox.oci.registry.upload.CHUNK", 300)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_chunk_that_fails_is_sent_again_or_found_there(rig: Rig, fault: Fault) -> None:
    rig.registry.fails("PATCH", "/blobs/uploads/", fault)
    rig.push()
    rig.pull()
    assert rig.is_whole()


@pytest.mark.usefixtures("chunked")
def test_a_half_arrived_chunk_is_completed(rig: Rig) -> None:
    store, registry = rig.store.layout, rig.registry
    blob = store.write(noise(5, 1000), LAYER_TYPE)

    def half(request: Request, serve: Callable[[], Answer]) -> Answer:
        upload = request.url.rpartition("/")[2]
        registry.uploads[upload] += request.body[:100]
        raise RegistryUnavailable("the connection failed")

    registry.fails("PATCH", "/blobs/uploads/", half)
    side = memory_side(registry, rig.folder)
    repository, source = side.connection().repository(side.repository("x")), LayoutPlace(store)
    assert repository.receive(blob, source.blob(blob)[0], source) is Way.SENT
    ranges = [one.headers["Content-Range"] for one in registry.seen("PATCH", "/uploads/")]
    assert ranges == ["0-299", "100-299", "300-599", "600-899", "900-999"]


@pytest.mark.usefixtures("chunked")
def test_an_upload_that_the_registry_forgot_starts_again(rig: Rig) -> None:
    def forgets(request: Request, serve: Callable[[], Answer]) -> Answer:
        rig.registry.uploads.clear()
        return serve()

    rig.registry.fails("PATCH", "/blobs/uploads/", forgets)
    rig.push()
    rig.pull()
    assert rig.is_whole()


def test_an_upload_that_never_works_ends(rig: Rig) -> None:
    rig.registry.fails("PUT", "/blobs/uploads/", drop, times=1000)
    with pytest.raises(RegistryUnavailable, match="again and again"):
        rig.push()
    assert rig.registry.tags == {}


def test_a_mount_that_is_refused_becomes_an_upload(rig: Rig) -> None:
    rig.push()
    rig.registry.fails("POST", "mount=", status(403), times=1000)
    side = memory_side(rig.registry, rig.folder)
    connection = side.connection()
    for name in ("one", "two"):
        moved = push(rig.store, connection, "one", side.reference(name), quiet)
    assert moved.blobs[Way.MOUNTED] == 0
    assert moved.blobs[Way.SENT] == 5


# Credentials.


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_challenge_is_answered(rig: Rig, auth: str) -> None:
    rig.registry.auth = auth
    rig.push()
    rig.pull()
    assert rig.is_whole()


def test_a_token_that_ends_is_renewed(rig: Rig) -> None:
    rig.registry.auth, rig.registry.token_life = "bearer", 11
    rig.push()
    rig.registry.tokens.clear()  # none of them holds any more
    rig.pull()
    assert rig.is_whole()


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_refused_credentials_are_said_and_not_shown(rig: Rig, auth: str) -> None:
    rig.registry.auth = auth
    (rig.folder / "auth.json").unlink(missing_ok=True)
    side = memory_side(rig.registry, rig.folder)
    (rig.folder / "auth.json").write_text(
        f'{{"auths": {{"{rig.registry.host}": {{"username": "robot", "password": "hunter2"}}}}}}'
    )
    with pytest.raises(RegistryDenied) as told:
        push(rig.store, side.connection(), "one", side.reference("one"), quiet)
    assert "hunter2" not in str(told.value)
    assert told.value.exit_code == 6


def test_no_credentials_come_with_advice(rig: Rig) -> None:
    rig.registry.auth = "basic"
    side = memory_side(rig.registry, rig.folder)
    (rig.folder / "auth.json").unlink()
    with pytest.raises(RegistryDenied, match="Log in"):
        push(rig.store, side.connection(), "one", side.reference("one"), quiet)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_redirect_to_another_host_gets_no_credentials(rig: Rig, auth: str) -> None:
    rig.registry.auth, rig.registry.redirects = auth, True
    rig.push()
    rig.pull()
    asked = [one for one in rig.registry.log if CDN_HOST in one.url]
    assert len(asked) == 5
    assert [one for one in asked if "Authorization" in one.headers] == []
    assert rig.is_whole()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://cdn.example.org/x", "no TLS"),
        ("https://registry.example.org/v2/one/manifests/1.0", "too many redirects"),
        ("file:///etc/passwd", "no TLS"),
    ],
)
def test_a_redirect_that_may_not_be_followed(rig: Rig, location: str, message: str) -> None:
    rig.push()
    rig.registry.fails("GET", "/manifests/1.0$", status(307, location=location), times=1000)
    with pytest.raises(RegistryError, match=message):
        rig.pull()


@pytest.mark.parametrize(
    "realm", ["http://tokens.example.org/token", "http://127.0.0.1/token", "tokens.example.org", ""]
)
def test_a_token_server_without_tls_gets_no_password(rig: Rig, realm: str) -> None:
    header = f'Bearer realm="{realm}",service="x"'
    rig.registry.fails("HEAD", "/blobs/", status(401, www_authenticate=header), times=1000)
    with pytest.raises(RegistryError, match="without TLS"):
        rig.push()
    assert [one for one in rig.registry.log if "Authorization" in one.headers] == []


def test_the_next_page_may_not_be_elsewhere(rig: Rig) -> None:
    rig.push()
    rig.registry.fails(
        "GET", "/tags/list", lambda _, serve: linked(serve(), "https://evil.example.org/v2/one/tags/list")
    )
    side = memory_side(rig.registry, rig.folder)
    with pytest.raises(RegistryError, match="another registry"):
        side.connection().repository(side.repository("one")).tags()


def test_a_list_without_an_end_ends(rig: Rig) -> None:
    rig.push()
    rig.registry.fails("GET", "/tags/list", lambda _, serve: linked(serve(), "/v2/one/tags/list"), times=10_000)
    side = memory_side(rig.registry, rig.folder)
    with pytest.raises(RegistryError, match="without an end"):
        side.connection().repository(side.repository("one")).tags()


def linked(answer: Answer, target: str) -> Answer:
    answer.headers = {**answer.headers, "link": f'<{target}>; rel="next"'}
    return answer


def test_a_referrer_of_another_image_is_refused(rig: Rig) -> None:
    rig.push()
    stranger = with_sbom(image(rig.store.layout, "two", seeds=(8,)))
    side = memory_side(rig.registry, rig.folder)
    push(rig.store, side.connection(), "two", side.reference("one", "2.0"), quiet)
    tags = rig.registry.tags["one"]
    tags[f"sha256-{rig.sample.manifest.digest.hex}"] = tags[f"sha256-{stranger.manifest.digest.hex}"]
    with pytest.raises(ImageError, match="does not speak"):
        rig.pull()
