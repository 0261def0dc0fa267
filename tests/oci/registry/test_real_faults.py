"""The same faults in front of Debian's real registry: what it has kept of a broken request is its own affair."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from faulty import FaultyTransport
from images import Sample, blob_names, image, leftovers, with_sbom
from memory_registry import FakeClock, Fault, changed_body, cut_at, drop, drop_after, status
from real_registry import RealRegistry
from sides import Side, quiet
from steps import PULL_STEPS, PUSH_STEPS

from veilbox.core.errors import ImageError, RegistryUnavailable
from veilbox.oci.image.lease import lease
from veilbox.oci.image.store import ImageStore
from veilbox.oci.registry.credentials import CredentialSource
from veilbox.oci.registry.http import HttpTransport
from veilbox.oci.registry.images import fetch, push

pytestmark = pytest.mark.registry

# Of layers in more than one chunk.
SENDING = PUSH_STEPS | {"chunk": ("PATCH", "/blobs/uploads/")}
PASSING: dict[str, Fault] = {
    "no answer": drop,
    "the answer is lost": drop_after,
    "429 with Retry-After": status(429, retry_after="3"),
}


@dataclass
class Rig:
    side: Side
    faults: FaultyTransport
    clock: FakeClock
    store: ImageStore
    other: ImageStore
    sample: Sample
    name: str

    def push(self) -> None:
        push(self.store, self.side.connection(), "one", self.side.reference(self.name), quiet)

    def pull(self) -> None:
        with lease(self.other.root) as held:
            fetch(self.other, self.side.connection(), self.side.reference(self.name), quiet, held)

    def is_whole(self) -> bool:
        whole = blob_names(self.other.layout.root) == blob_names(self.store.layout.root)
        return whole and leftovers(self.other.layout.root) == []


@pytest.fixture
def rig(real: RealRegistry, tmp_path: Path) -> Iterator[Rig]:
    store, other = ImageStore(tmp_path / "store"), ImageStore(tmp_path / "other")
    for one in (store, other):
        one.prepare()
    clock = FakeClock()
    with HttpTransport(ca_file=real.ca_file) as transport:
        faults = FaultyTransport(transport)
        side = Side(real.host, faults, CredentialSource((real.auth_file,)), clock, referrers_api=False)
        sample = with_sbom(image(store.layout, "one", seeds=(secrets.randbelow(200) + 50, 2)))
        yield Rig(side, faults, clock, store, other, sample, f"faults{secrets.token_hex(4)}")


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize(("method", "path"), PULL_STEPS.values(), ids=PULL_STEPS)
def test_a_pull_survives_a_passing_fault_at_each_step(rig: Rig, method: str, path: str, fault: Fault) -> None:
    rig.push()
    rig.faults.fails(method, path, fault)
    rig.pull()
    assert rig.faults.rules[0].times == 0
    assert rig.is_whole()


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize(("method", "path"), SENDING.values(), ids=SENDING)
def test_a_push_survives_a_passing_fault_at_each_step(
    rig: Rig, method: str, path: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veilbox.oci.registry.upload.CHUNK", 600)  # two chunks for each layer
    rig.faults.fails(method, path, fault)
    rig.push()
    assert rig.faults.rules[0].times == 0
    rig.pull()
    assert rig.is_whole()
    assert len(rig.other.layout.referrers(rig.sample.manifest.digest)) == 1


@pytest.mark.parametrize("count", [0, 1, 400])
def test_a_download_that_breaks_off_goes_on_at_its_byte(rig: Rig, count: int) -> None:
    rig.push()
    blob = rig.sample.layers[0].digest
    rig.faults.fails("GET", f"/blobs/{blob}", cut_at(count))
    rig.pull()
    ranges = [one.headers.get("Range") for one in rig.faults.log if one.method == "GET" and blob.text in one.url]
    assert ranges == [None, f"bytes={count}-" if count else None]
    assert rig.is_whole()


BODIES: dict[str, Callable[[bytes], bytes]] = {
    "one bit flipped": lambda body: bytes([body[0] ^ 1]) + body[1:],
    "one byte short": lambda body: body[:-1],
    "one byte more": lambda body: body + b"\n",
}


@pytest.mark.parametrize("change", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("step", ["manifest by tag", "manifest by digest", "blob"])
def test_a_body_of_other_bytes_is_refused(rig: Rig, step: str, change: Callable[[bytes], bytes]) -> None:
    rig.push()
    rig.faults.fails(*PULL_STEPS[step], changed_body(change), times=1000)
    with pytest.raises(ImageError):
        rig.pull()
    assert rig.other.layout.index() == ()


def test_retry_after_is_waited_for(rig: Rig) -> None:
    rig.push()
    rig.faults.fails("GET", "/blobs/sha256:", status(429, retry_after="30"))
    rig.pull()
    assert rig.clock.now() >= 1030


def test_a_fault_that_stays_is_said(rig: Rig) -> None:
    rig.push()
    rig.faults.fails("GET", "/blobs/sha256:", drop, times=1000)
    with pytest.raises(RegistryUnavailable, match="connection failed"):
        rig.pull()
    assert rig.other.layout.index() == ()
