"""One repository of a registry: manifests, blobs, tags and referrers, each verified as it arrives.

Source: OCI distribution-spec 1.1.1; the section is named at each method.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple
from urllib.parse import urljoin

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import RegistryError, RegistryUnavailable
from veilbox.oci.image.links import document_type, parse_links, referrer_entry
from veilbox.oci.image.spec import INDEX_TYPE, MANIFEST_TYPE, Descriptor
from veilbox.oci.image.wire import MAX_JSON_BYTES, canonical, descriptor_document, parse_index
from veilbox.oci.registry.content import Bytes, Check, Source, Way
from veilbox.oci.registry.reference import Repository
from veilbox.oci.registry.session import PULL, PUSH, Session, scope
from veilbox.oci.registry.transport import Request, Response, origin
from veilbox.oci.registry.upload import Upload

_ACCEPT = {"Accept": f"{MANIFEST_TYPE}, {INDEX_TYPE}"}

# A registry that never stops saying "there is more" must end.
_MAX_PAGES = 1000
_PAGE = 200

_NEXT = re.compile(r'<([^>]*)>\s*;(?:[^,]*;)?\s*rel="?next"?', re.IGNORECASE)
_RANGE = re.compile(r"bytes ([0-9]{1,18})-", re.ASCII)

# A connection that ends after every few bytes is no connection.
_MAX_RESUMES = 100

# Two writers may have read the same list; each looks whether its entry survived.
_LIST_ROUNDS = 5


class _Tags(msgspec.Struct, frozen=True):
    tags: list[str] | None = None


class _BrokenOff(Exception):
    """A body did not arrive to its end; caught where it can be asked for again."""


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    raw: bytes


class Known:
    """Which repositories of this run hold a blob: from there it can be mounted instead of sent."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, Digest], Repository] = {}
        self._lock = threading.Lock()

    def add(self, repository: Repository, digest: Digest) -> None:
        """A blob is there."""
        with self._lock:
            self._places.setdefault((repository.registry, digest), repository)

    def find(self, registry: str, digest: Digest) -> Repository | None:
        """Another repository of the registry that has the blob."""
        with self._lock:
            return self._places.get((registry, digest))


class RepositoryClient:
    """A repository as a source and a target of content.

    Args:
        session: How to ask.
        repository: Which one.
        known: Shared by the repositories of one run.
    """

    def __init__(self, session: Session, repository: Repository, known: Known | None = None) -> None:
        self._session = session
        self.repository = repository
        self.known = known or Known()

    # Pulling manifests.

    def resolve(self, name: str) -> Descriptor | None:
        """What a tag or digest stands for; None if it is not there. The bytes were read, so the digest is theirs.

        Raises:
            RegistryError: It cannot be told, or the registry contradicts itself.
        """
        found = self._get_document(name)
        return None if found is None else found[0]

    def document(self, descriptor: Descriptor) -> bytes:
        """See `Source.document`."""
        found = self._get_document(descriptor.digest.text, limit=descriptor.size)
        if found is None:
            raise self._missing("manifest", descriptor.digest.text)
        check = Check(descriptor, self._where(descriptor))
        check.feed(found[1])
        check.finish()
        return found[1]

    def fetch(self, name: str) -> tuple[Descriptor, bytes]:
        """A manifest or index by tag or digest, with its bytes.

        Raises:
            RegistryError: It is not there.
        """
        found = self._get_document(name)
        if found is None:
            raise self._missing("manifest", name)
        return found

    def _get_document(self, name: str, limit: int = MAX_JSON_BYTES) -> tuple[Descriptor, bytes] | None:
        request = self._request("GET", f"manifests/{name}", headers=_ACCEPT)
        answer = self._whole(request, PULL, 200, 404, limit=min(limit, MAX_JSON_BYTES))
        return None if answer.status == 404 else _described(request, answer, name)

    # Pulling blobs.

    def blob(self, descriptor: Descriptor) -> tuple[Bytes, ...]:
        """See `Source.blob`."""
        return (partial(self.read, descriptor),)

    def read(self, descriptor: Descriptor, offset: int) -> Iterator[bytes]:
        """A blob's bytes from an offset; after a broken connection it goes on where it was.

        At most one chunk more than the descriptor's size is read, enough to see that there is more than there may be.

        Raises:
            RegistryUnavailable: As often as is sensible not one more byte came.
            RegistryError: It is not there, or the registry answers what may not be.
        """
        failures = 0
        for _ in range(_MAX_RESUMES):
            before, broken = offset, None
            try:
                for chunk in self._read_once(descriptor, offset):
                    self._session.check()
                    offset += len(chunk)
                    yield chunk
                    if offset > descriptor.size:
                        return  # the receiver sees and says that it is too much
            except _BrokenOff as error:
                broken = error
            if offset >= descriptor.size:
                return
            failures = 1 if offset > before else failures + 1
            if failures >= self._session.backoff.attempts:
                break
            self._session.wait(failures)
        if broken is not None:
            raise RegistryUnavailable(
                "the connection broke off again and again",
                where=f"{self.repository}@{descriptor.digest}",
                expected=f"{descriptor.size} bytes",
                actual=str(offset),
                advice="Try again later: it goes on where it was",
            ) from broken
        # Too short without a broken connection, again and again: the receiver says so.

    def _read_once(self, descriptor: Descriptor, offset: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        request = self._request("GET", f"blobs/{descriptor.digest}", headers=headers)
        with self._ask(request, PULL, 200, 206, 404, 416) as response:
            if response.status == 404:
                raise self._missing("blob", descriptor.digest.text)
            if response.status == 416:
                raise RegistryError("blob ends too early", where=repr(request), expected=f"{descriptor.size} bytes")
            skip = offset if response.status == 200 else 0  # it does not know ranges and began at the beginning
            if response.status == 206 and not _begins_at(response, offset):
                raise RegistryError("another range than was asked for", where=repr(request))
            for chunk in _arriving(response):
                kept = chunk[skip:] if skip else chunk
                skip = max(0, skip - len(chunk))
                if kept:
                    yield kept

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the repository has a blob ("Checking if content exists in the registry")."""
        request = self._request("HEAD", f"blobs/{descriptor.digest}")
        with self._ask(request, PULL, 200, 404) as response:
            return response.status == 200

    # Pushing.

    def receive(self, descriptor: Descriptor, read: Bytes, source: Source) -> Way:
        """See `Target.receive`: there already, mounted from another repository, or sent in chunks."""
        if self.has(descriptor):
            self.known.add(self.repository, descriptor.digest)
            return Way.THERE
        upload = Upload(self._session, self.repository)
        way = upload.run(descriptor, read, mount_from=self._mountable(descriptor, source))
        self.known.add(self.repository, descriptor.digest)
        return way

    def _mountable(self, descriptor: Descriptor, source: Source) -> Repository | None:
        if isinstance(source, RepositoryClient) and source.repository.registry == self.repository.registry:
            return source.repository
        return self.known.find(self.repository.registry, descriptor.digest)

    def put(self, descriptor: Descriptor, raw: bytes, name: str | None) -> None:
        """See `Target.put` ("Pushing manifests", "Pushing manifests with subject").

        Raises:
            RegistryError: It was not accepted, or the registry stored something else.
        """
        headers = {"Content-Type": descriptor.media_type}
        request = self._request("PUT", f"manifests/{name or descriptor.digest}", headers=headers, body=raw)
        with self._ask(request, PUSH, 201) as response:
            stored = response.headers.get("docker-content-digest", descriptor.digest.text)
            listed = "oci-subject" in response.headers
        if stored.startswith("sha256:") and stored != descriptor.digest.text:
            raise RegistryError("another manifest was stored", where=repr(request), actual=stored)
        subject = parse_links(raw, descriptor.media_type).subject
        if subject is not None and not listed:
            self._list_by_tag(subject.digest, referrer_entry(descriptor, raw))

    def _list_by_tag(self, subject: Digest, entry: Descriptor) -> None:
        """Keep the list of referrers that an older registry does not ("Referrers Tag Schema")."""
        tag = referrers_tag(subject)
        for _ in range(_LIST_ROUNDS):
            entries = self._listed(tag)
            if any(one.digest == entry.digest for one in entries):
                return
            document = {
                "schemaVersion": 2,
                "mediaType": INDEX_TYPE,
                "manifests": [descriptor_document(one) for one in (*entries, entry)],
            }
            raw = canonical(document)
            self.put(Descriptor(media_type=INDEX_TYPE, digest=Digest.of(raw), size=len(raw)), raw, tag)
        raise RegistryError(
            "others change the list of referrers at the same time", where=f"{self.repository}:{tag}", advice="Try again"
        )

    # Content discovery.

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """What speaks of a manifest: by the referrers API, or by the tag that stands in for it.

        Raises:
            RegistryError: The list is not what it must be.
        """
        found: dict[Digest, Descriptor] = {}
        for answer in self._pages(f"referrers/{subject}"):
            if answer.status == 404:
                return self._listed(referrers_tag(subject))
            found |= {one.digest: one for one in parse_index(answer.raw)}
        return tuple(found.values())

    def _listed(self, tag: str) -> tuple[Descriptor, ...]:
        found = self._get_document(tag)
        if found is None:
            return ()
        if found[0].media_type != INDEX_TYPE:
            raise RegistryError("not a list of referrers", where=f"{self.repository}:{tag}", actual=found[0].media_type)
        return parse_index(found[1])

    def tags(self) -> tuple[str, ...]:
        """All tags, over as many pages as there are ("Listing Tags").

        Raises:
            RegistryError: The repository is not there, or a page is not what it must be.
        """
        found: dict[str, None] = {}
        for answer in self._pages(f"tags/list?n={_PAGE}"):
            if answer.status == 404:
                raise self._missing("repository", self.repository.name)
            try:
                page = msgspec.json.decode(answer.raw, type=_Tags)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise RegistryError("not a list of tags", where=str(self.repository)) from error
            found |= dict.fromkeys(page.tags or ())
        return tuple(found)

    def _pages(self, path: str) -> Iterator[_Answer]:
        request = self._request("GET", path, headers={"Accept": f"{INDEX_TYPE}, application/json"})
        home = origin(request.url)
        for _ in range(_MAX_PAGES):
            answer = self._whole(request, PULL, 200, 404, limit=MAX_JSON_BYTES)
            yield answer
            link = _NEXT.search(answer.headers.get("link", ""))
            if link is None:
                return
            target = urljoin(request.url, link[1])
            if origin(target) != home:
                raise RegistryError("the next page is at another registry", where=repr(request))
            request = Request(method="GET", url=target, headers=request.headers)
        raise RegistryError("list without an end", where=repr(request), expected=f"at most {_MAX_PAGES} pages")

    # Asking.

    def _ask(self, request: Request, actions: str, *expected: int) -> AbstractContextManager[Response]:
        return self._session.ask(request, self.repository, {scope(self.repository, actions)}, expected=expected)

    def _whole(self, request: Request, actions: str, *expected: int, limit: int) -> _Answer:
        """An answer with its whole body; asked again when the body breaks off."""
        attempts = self._session.backoff.attempts
        for attempt in range(1, attempts + 1):
            try:
                return self._whole_once(request, actions, expected, limit)
            except _BrokenOff as error:
                if attempt == attempts:
                    raise RegistryUnavailable(
                        "the connection broke off again and again", where=repr(request), advice="Try again later"
                    ) from error
                self._session.wait(attempt)
        raise RegistryUnavailable("no attempts left", where=repr(request))

    def _whole_once(self, request: Request, actions: str, expected: tuple[int, ...], limit: int) -> _Answer:
        with self._ask(request, actions, *expected) as response:
            return _Answer(response.status, response.headers, _read(response, request, limit))

    def _request(self, method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes = b"") -> Request:
        return Request(method=method, url=self._session.url(self.repository, path), headers=headers or {}, body=body)

    def _where(self, descriptor: Descriptor) -> str:
        return f"{self.repository}@{descriptor.digest}"

    def _missing(self, what: str, name: str) -> RegistryError:
        return RegistryError(f"{what} is not there", where=str(self.repository), expected=name)


def referrers_tag(subject: Digest) -> str:
    """The tag under which an index of referrers stands where the API is missing (distribution-spec 1.1.1)."""
    return f"sha256-{subject.hex}"


def _described(request: Request, answer: _Answer, name: str) -> tuple[Descriptor, bytes]:
    digest = Digest.of(answer.raw)
    claimed = answer.headers.get("docker-content-digest", digest.text)
    asked = name if name.startswith("sha256:") else digest.text
    for expected in (asked, claimed):
        if expected.startswith("sha256:") and expected != digest.text:
            raise RegistryError(
                "manifest is not what its digest says", where=repr(request), expected=expected, actual=digest.text
            )
    announced = answer.headers.get("content-type", "").partition(";")[0].strip()
    media_type = document_type(answer.raw) or announced
    return Descriptor(media_type=media_type, digest=digest, size=len(answer.raw)), answer.raw


def _read(response: Response, request: Request, limit: int) -> bytes:
    parts: list[bytes] = []
    count = 0
    for chunk in _arriving(response):
        parts.append(chunk)
        count += len(chunk)
        if count > limit:
            raise RegistryError("answer is too long", where=repr(request), expected=f"at most {limit} bytes")
    return b"".join(parts)


def _arriving(response: Response) -> Iterator[bytes]:
    """The body; a break is told apart from failures to get an answer at all, which were retried already."""
    try:
        yield from response.chunks()
    except RegistryUnavailable as error:
        raise _BrokenOff from error


def _begins_at(response: Response, offset: int) -> bool:
    found = _RANGE.match(response.headers.get("content-range", ""))
    return found is not None and int(found[1]) == offset
