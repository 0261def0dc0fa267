"""Sending one blob: mount it, or open an upload and send chunks, and go on after a broken one where the registry is.

Source: OCI distribution-spec 1.1.1, "Pushing a blob in chunks", "Mounting a blob from another repository".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from urllib.parse import urlencode

from veilbox.core.errors import RegistryDenied, RegistryError, RegistryUnavailable
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.registry.content import Bytes, Check, Way
from veilbox.oci.registry.reference import Repository
from veilbox.oci.registry.session import PULL, PUSH, Session, scope
from veilbox.oci.registry.transport import Request, Response

# Bytes in one request, held in memory for each parallel layer so that it can be sent again; layers of ours take up to
# eight. Front ends commonly refuse bodies over 100 MB.
CHUNK = 8 << 20

_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})", re.ASCII)
_OCTETS = "application/octet-stream"


class _Lost(Exception):
    """The upload cannot go on where it was; it starts again."""


class Upload:
    """One blob's way into a repository.

    Args:
        session: How to ask.
        repository: Where it goes.
    """

    def __init__(self, session: Session, repository: Repository) -> None:
        self._session = session
        self._repository = repository
        self._scopes = frozenset({scope(repository, PUSH)})

    def run(self, descriptor: Descriptor, read: Bytes, *, mount_from: Repository | None) -> Way:
        """Mount or send a blob.

        Args:
            descriptor: What it is; nothing is finished in the registry unless the bytes are that.
            read: Where the bytes come from.
            mount_from: A repository of the same registry that has it.

        Raises:
            ImageError: The bytes are not what the descriptor says.
            RegistryUnavailable: It broke off as often as it may.
        """
        for attempt in range(1, self._session.backoff.attempts + 1):
            location = self._open(descriptor, mount_from if attempt == 1 else None)
            if location is None:
                return Way.MOUNTED
            try:
                self._send(location, descriptor, read)
            except _Lost:
                self._session.wait(attempt)
            else:
                return Way.SENT
        raise RegistryUnavailable(
            "the upload broke off again and again",
            where=f"{self._repository}@{descriptor.digest}",
            advice="Try again later",
        )

    def _open(self, descriptor: Descriptor, mount_from: Repository | None) -> str | None:
        """Where to send; None if the registry mounted the blob."""
        if mount_from is not None:
            query = urlencode({"mount": descriptor.digest.text, "from": mount_from.name})
            try:
                return self._post(f"?{query}", self._scopes | {scope(mount_from, PULL)})
            except RegistryDenied:
                pass  # we may not read the other repository; so the blob is sent
        return self._post("", self._scopes)

    def _post(self, query: str, scopes: frozenset[str]) -> str | None:
        url = self._session.url(self._repository, f"blobs/uploads/{query}")
        request = Request(method="POST", url=url, headers={"Content-Length": "0"})
        with self._session.ask(request, self._repository, scopes, expected=(201, 202)) as response:
            return None if response.status == 201 else self._location(request, response)

    def _send(self, location: str, descriptor: Descriptor, read: Bytes) -> None:
        check = Check(descriptor, f"{self._repository}@{descriptor.digest}")
        held = b""
        sent = 0
        for chunk in _gathered(read(0), CHUNK):
            if held:
                location = self._chunk(location, held, sent)
                sent += len(held)
            held = check.feed(chunk)
        check.finish()
        if sent:
            location = self._chunk(location, held, sent)
            held = b""
        self._finish(location, descriptor, held)

    def _chunk(self, location: str, body: bytes, offset: int) -> str:
        """Send one chunk; after a fault ask how much arrived and send the rest."""
        for attempt in range(1, self._session.backoff.attempts + 1):
            try:
                return self._patch(location, body, offset)
            except RegistryUnavailable:
                self._session.check()
                self._session.wait(attempt)
            location, arrived = self._status(location)
            if not offset <= arrived <= offset + len(body):
                raise _Lost
            body, offset = body[arrived - offset :], arrived
            if not body:
                return location
        raise _Lost

    def _patch(self, location: str, body: bytes, offset: int) -> str:
        headers = {
            "Content-Type": _OCTETS,
            "Content-Range": f"{offset}-{offset + len(body) - 1}",
            "Content-Length": str(len(body)),
        }
        request = Request(method="PATCH", url=location, headers=headers, body=body)
        with self._ask(request, (202, 404, 416), repeat=False) as response:
            if response.status != 202:
                raise _Lost
            return self._location(request, response)

    def _status(self, location: str) -> tuple[str, int]:
        """Where to go on, and how many bytes arrived."""
        request = Request(method="GET", url=location)
        try:
            with self._ask(request, (204,)) as response:
                found = _RANGE.fullmatch(response.headers.get("range", ""))
                # "0-0" is one byte to the specification and none to docker-registry: starting again is right for both.
                if found is None or int(found[1]) == 0:
                    raise _Lost
                return self._location(request, response), int(found[1]) + 1
        except RegistryDenied:
            raise
        except RegistryError as error:
            self._session.check()
            raise _Lost from error

    def _finish(self, location: str, descriptor: Descriptor, body: bytes) -> None:
        joint = "&" if "?" in location else "?"
        url = f"{location}{joint}{urlencode({'digest': descriptor.digest.text})}"
        headers = {"Content-Length": str(len(body))} | ({"Content-Type": _OCTETS} if body else {})
        request = Request(method="PUT", url=url, headers=headers, body=body)
        try:
            with self._ask(request, (201, 404, 416), repeat=False) as response:
                if response.status != 201:
                    raise _Lost
        except RegistryUnavailable as error:
            # It may have arrived and only the answer was lost.
            if self._arrived(descriptor):
                return
            raise _Lost from error

    def _arrived(self, descriptor: Descriptor) -> bool:
        self._session.check()
        url = self._session.url(self._repository, f"blobs/{descriptor.digest}")
        with self._ask(Request(method="HEAD", url=url), (200, 404)) as response:
            return response.status == 200

    def _ask(
        self, request: Request, expected: tuple[int, ...], *, repeat: bool = True
    ) -> AbstractContextManager[Response]:
        return self._session.ask(request, self._repository, self._scopes, expected=expected, repeat=repeat)

    def _location(self, request: Request, response: Response) -> str:
        return self._session.location(request, response, self._repository)


def _gathered(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, but for the last."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
