"""The sides that the contract is tested against: registries in memory, and Debian's real one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from memory_registry import PASSWORD, USER, FakeClock, MemoryRegistry

from veilbox.oci.registry.credentials import CredentialSource
from veilbox.oci.registry.images import Connection
from veilbox.oci.registry.mirrors import Mirror
from veilbox.oci.registry.reference import Reference, Repository
from veilbox.oci.registry.retry import Backoff, Clock
from veilbox.oci.registry.session import Session
from veilbox.oci.registry.transport import Transport


@dataclass
class Side:
    """One registry, and how to reach it."""

    host: str
    transport: Transport
    credentials: CredentialSource
    clock: Clock = field(default_factory=FakeClock)
    referrers_api: bool = True

    def connection(self, *, mirrors: tuple[Mirror, ...] = (), attempts: int = 4) -> Connection:
        backoff = Backoff(attempts=attempts, first_s=0.01, limit_s=0.1)
        session = Session(transport=self.transport, credentials=self.credentials, clock=self.clock, backoff=backoff)
        return Connection(session=session, mirrors=mirrors)

    def repository(self, name: str) -> Repository:
        return Repository(self.host, name)

    def reference(self, name: str, tag: str = "1.0") -> Reference:
        return Reference(self.repository(name), tag)


def auth_file(folder: Path, host: str, user: str = USER, password: str = PASSWORD) -> CredentialSource:
    path = folder / "auth.json"
    path.write_text(json.dumps({"auths": {host: {"username": user, "password": password}}}))
    return CredentialSource((path,))


def memory_side(registry: MemoryRegistry, folder: Path) -> Side:
    return Side(
        host=registry.host,
        transport=registry,
        credentials=auth_file(folder, registry.host),
        referrers_api=registry.referrers_api,
    )


MakeSide = Callable[[], Side]


def quiet(text: str) -> None:
    """Progress that nobody reads."""
