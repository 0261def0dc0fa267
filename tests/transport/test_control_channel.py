"""Supervisor and component: strict JSON, descriptors that are counted, and nothing left open after a refusal."""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilbox.core.claim import Claim
from veilbox.core.control import (
    Append,
    Appended,
    Canaries,
    Claimed,
    Configure,
    EdgeEnd,
    Faulted,
    Finish,
    Finished,
    FromComponent,
    Heartbeat,
    Hello,
    ItemDone,
    ItemFailed,
    ItemStarted,
    Link,
    Linked,
    LogOpened,
    OpenClaim,
    OpenItem,
    OpenLog,
    OpenOutput,
    Probed,
    Ready,
    Seal,
    Sealed,
    Signature,
    ToComponent,
    ToSign,
    Verified,
)
from veilbox.core.errors import ComponentDied, ComponentHung, Failure, ProtocolError
from veilbox.core.exposure import Exposure
from veilbox.core.findings import Finding, FindingKind, Look
from veilbox.core.isolation import Gate
from veilbox.core.linking import LinkRate
from veilbox.core.policy import Detection, Keep, Policy, Style
from veilbox.core.stream import Kind
from veilbox.transport.channel import pair
from veilbox.transport.control import MAX_CONTROL_BYTES, MAX_DESCRIPTORS, ComponentControl, SupervisorControl
from veilbox.transport.messages import LocalProtocolError

Ends = tuple[SupervisorControl, ComponentControl]

CONFIGURE = Configure(
    policy=Policy(detection=Detection(classes=("face", "plate"), threshold=0.5), keep=(Keep.AUDIO,), deadline_s=30),
    ends=(
        EdgeEnd(edge="raw", peer="ingest", producer=False, ring="/rings/raw"),
        EdgeEnd(edge="boxes", peer="detect-face", producer=False),
    ),
    canaries=Canaries(path="/canary", tcp_port=1234, abstract_socket="canary", volumes=("/rings/clean",)),
    ring_bytes=1 << 28,
)
FAILURE = Failure(kind="SourceCorrupt", what="cut short", expected="300 frames", actual="7", advice="Copy it again")
TO_COMPONENT: list[ToComponent] = [
    CONFIGURE,
    OpenItem(item=3, suffix="mp4"),
    OpenOutput(
        item=3,
        suffix="mp4",
        kind=Kind.FILM,
        width=64,
        height=48,
        rotation=90,
        frames=2,
        times="sha256:00",
        metadata="sha256:01",
    ),
    OpenClaim(
        item=3,
        suffix="jpg",
        claim=Claim(
            veilbox="1",
            hidden=("face",),
            style="solid",
            policy="sha256:00",
            job="1234abcd",
            log="veilbox/audit",
            entry=7,
            leaf="sha256:01",
            models={"detect-centerface": "sha256:02"},
        ),
        algorithm="es256",
        signature_bytes=64,
        chain="-----BEGIN CERTIFICATE-----",
    ),
    Signature(item=3, signature=bytes(range(64))),
    OpenLog(first=7),
    Append(entries=("{}", "{}")),
    Seal(),
    Link(items=(0, 2), people=(0, 1), whole=True),
    Finish(),
]
# Messages with descriptors, and how many.
HANDED = {Configure: 2, OpenClaim: 2, OpenLog: 4, OpenOutput: 1, Seal: 1}
FROM_COMPONENT: list[FromComponent] = [
    Hello(component="ingest", first_ns=1, imported_ns=2),
    Probed(gates=(Gate(name="dns", tried="a query", found="EPERM", held=True),)),
    Ready(ready_ns=3, classes=("face",), model="sha256:00", stride=32),
    Heartbeat(item=0, frames=7),
    ItemStarted(item=0, first_sequence=0, kind=Kind.FILM, width=1, height=2, frames=3, rotation=90),
    ItemDone(item=0, frames=3, counts={"face/0": 2}, covered={"detected": 4}, latency_us=((10, 2), (20, 1))),
    ItemFailed(item=0, failure=FAILURE),
    Verified(
        item=0,
        frames=2,
        regions=4,
        searched=1,
        side=960,
        findings=(Finding(kind=FindingKind.RESIDUAL, what="face", score=0.5, looks=(Look(frame=1, score=0.5),)),),
    ),
    ToSign(item=0, data=b"\x84\x6aSignature1"),
    Claimed(item=0),
    LogOpened(key="veilbox/audit+00+AQ==", size=0, recovered_bytes=0),
    Appended(index=0, digest="sha256:00"),
    Sealed(origin="o", first=0, index=1, leaf="sha256:00", size=2, checkpoint="o\n2\n", proof=("AA==",)),
    Linked(
        rates=(LinkRate(style="blur", cells=8, adversary="eigenfaces", same=True, hits=0.5, trials=2, chance=0.5),),
        pictures=2,
    ),
    ItemDone(item=0, frames=3, exposure=Exposure(short=1, bins=((1, 2, 3, 4),))),
    Finished(),
    Faulted(failure=FAILURE),
]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = pair()
    made = SupervisorControl(ours, "detect-face"), ComponentControl(theirs)
    yield made
    for end in made:
        end.close()


@pytest.fixture
def wire() -> Iterator[tuple[SupervisorControl, socket.socket]]:
    """The supervisor's end and the bare socket of a component that may send anything."""
    ours, theirs = pair()
    control = SupervisorControl(ours, "detect-face")
    yield control, theirs
    control.close()
    theirs.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_every_message_is_in_these_tables() -> None:
    assert {type(message) for message in TO_COMPONENT} == set(get_args(ToComponent))
    assert {type(message) for message in FROM_COMPONENT} == set(get_args(FromComponent))


@pytest.mark.parametrize("message", TO_COMPONENT, ids=lambda message: type(message).__name__)
def test_to_a_component(message: ToComponent, ends: Ends) -> None:
    supervisor, component = ends
    handed = [os.open(os.devnull, os.O_RDONLY) for _ in range(HANDED.get(type(message), 0))]
    supervisor.send(message, handed)
    received = component.receive()
    assert received is not None
    assert received[0] == message
    assert len(received[1]) == len(handed)
    for mine, theirs in zip(handed, received[1], strict=True):
        assert os.path.samestat(os.fstat(mine), os.fstat(theirs))
        assert not os.get_inheritable(theirs)
        os.close(mine)
        os.close(theirs)
    assert component.receive() is None


@pytest.mark.parametrize("message", FROM_COMPONENT, ids=lambda message: type(message).__name__)
def test_from_a_component(message: FromComponent, ends: Ends) -> None:
    supervisor, component = ends
    component.send(message)
    assert supervisor.receive() == (message, [])


def test_enumerations_come_back_as_themselves(ends: Ends) -> None:
    supervisor, component = ends
    supervisor.send(CONFIGURE, [0, 1])
    received = component.receive()
    assert received is not None
    message, fds = received
    assert isinstance(message, Configure)
    assert message.policy.redaction.style is Style.SOLID
    assert message.policy.keep[0] is Keep.AUDIO
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("count", [0, 1])
def test_a_descriptor_may_go_with_an_item(count: int, ends: Ends) -> None:
    supervisor, component = ends
    supervisor.send(OpenItem(item=0), [0] * count)
    received = component.receive()
    assert received is not None
    assert len(received[1]) == count
    for fd in received[1]:
        os.close(fd)


def _packet(kind: object, body: object) -> bytes:
    return json.dumps({"type": kind, "body": body}).encode()


BEAT = {"item": 0, "frames": 0}
HOSTILE: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"beat", "no JSON"),
    "not UTF-8": (b'{"type":"\xff","body":{}}', "no JSON"),
    "a lone surrogate": (b'{"type":"\\ud800","body":{}}', "JSON|type"),
    "a list": (b"[]", "not a control message"),
    "a number": (b"1", "not a control message"),
    "no body": (b'{"type":"Finished"}', "not a control message"),
    "a third field": (b'{"type":"Finished","body":{},"more":1}', "not a control message"),
    "a tail": (_packet("Finished", {}) + b"{}", "no JSON"),
    "no type": (_packet(None, {}), "does not take"),
    "a list as type": (_packet([], {}), "does not take"),
    "unknown type": (_packet("Shutdown", {}), "expected Hello, .*got Shutdown"),
    "the supervisor's own type": (_packet("Finish", {}), "got Finish"),
    "a missing field": (_packet("Heartbeat", {"item": 0}), "frames"),
    "an unknown field": (_packet("Heartbeat", BEAT | {"more": 0}), "too many or too few"),
    "a default left out": (_packet("ItemDone", BEAT), "too many or too few"),
    "text for a number": (_packet("Heartbeat", BEAT | {"item": "0"}), "int"),
    "a fraction": (_packet("Heartbeat", BEAT | {"item": 0.5}), "int"),
    "a truth value": (_packet("Heartbeat", BEAT | {"item": True}), "int"),
    "a list as body": (_packet("Heartbeat", []), "Heartbeat is not valid"),
    "null": (_packet("Heartbeat", None), "Heartbeat is not valid"),
    "an integer of 65 bits": (_packet("Heartbeat", BEAT | {"item": 1 << 64}), "out of bounds"),
    "an integer of 4000 digits": (_packet("Heartbeat", BEAT | {"item": int("9" * 4000)}), "out of bounds|no JSON"),
    "a number of 9000 digits": (b'{"type":"Heartbeat","body":{"item":' + b"9" * 9000 + b"}}", "bounds|no JSON"),
    "an infinite number": (b'{"type":"Heartbeat","body":{"item":1e999,"frames":0}}', "bounds|no JSON"),
    "nested": (b'{"type":"Heartbeat","body":' + b"[" * 30 + b"]" * 30 + b"}", "nested too deeply"),
    "nested far too deep": (b'{"type":"Heartbeat","body":' + b"[" * 100_000, "no JSON"),
    "too long": (b" " * (MAX_CONTROL_BYTES + 1), "too long"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_message_is_a_protocol_error(name: str, wire: tuple[SupervisorControl, socket.socket]) -> None:
    control, peer = wire
    packet, told = HOSTILE[name]
    peer.send(packet)
    with pytest.raises(ProtocolError, match=f"^detect-face: .*({told})"):
        control.receive()


def test_values_that_their_class_refuses(ends: Ends) -> None:
    ours, theirs = pair()
    component = ComponentControl(theirs)
    bodies = [
        {"redaction": {"cells": 9}},
        {"detection": {"stride": 0}},
        {"redaction": {"style": "none"}},
        {"minimum_isolation": 7},
    ]
    for policy in bodies:
        body = {"policy": policy, "ends": [], "canaries": {"path": "", "tcp_port": 1, "abstract_socket": ""}}
        ours.send(_packet("Configure", body | {"ring_bytes": 1}))
        with pytest.raises(ProtocolError, match="Configure is not valid"):
            component.receive()
    component.close()
    ours.close()
    assert ends[0].receive() is None


@pytest.mark.parametrize("count", [1, MAX_DESCRIPTORS, MAX_DESCRIPTORS + 1, 200])
def test_unexpected_descriptors_are_closed(count: int, wire: tuple[SupervisorControl, socket.socket]) -> None:
    control, peer = wire
    read, write = os.pipe()
    socket.send_fds(peer, [_packet("Finished", {})], [write] * count)
    os.close(write)
    before = descriptors()
    with pytest.raises(ProtocolError, match="descriptors"):
        control.receive()
    assert descriptors() == before
    assert os.read(read, 1) == b"", "nobody holds the other end"
    os.close(read)


def test_descriptors_of_a_refused_message_are_closed(wire: tuple[SupervisorControl, socket.socket]) -> None:
    control, peer = wire
    read, write = os.pipe()
    socket.send_fds(peer, [b"noise"], [write])
    os.close(write)
    with pytest.raises(ProtocolError, match="no JSON"):
        control.receive()
    assert os.read(read, 1) == b""
    os.close(read)


def test_a_configure_with_another_number_of_sockets() -> None:
    ours, theirs = pair()
    component = ComponentControl(theirs)
    tree = json.loads(_json_of(CONFIGURE))
    tree["body"]["ends"].pop()
    ours.sendmsg([json.dumps(tree).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 0]))])
    with pytest.raises(ProtocolError, match=r"with Configure \(expected 1 to 1, got 2\)"):
        component.receive()
    component.close()
    ours.close()


def _json_of(message: ToComponent) -> bytes:
    ours, theirs = pair()
    control = SupervisorControl(ours)
    control.send(message, [0, 0])
    packet, fds, _, _ = socket.recv_fds(theirs, MAX_CONTROL_BYTES, 4)
    for fd in fds:
        os.close(fd)
    control.close()
    theirs.close()
    return packet


def test_what_was_said_before_the_end_is_heard(ends: Ends) -> None:
    supervisor, component = ends
    supervisor.send(Finish())  # never read: the kernel reports a reset first
    component.send(Faulted(failure=FAILURE))
    component.close()
    with pytest.raises(ComponentDied):
        supervisor.send(Finish())
    assert supervisor.receive() == (Faulted(failure=FAILURE), [])
    with pytest.raises(ComponentDied, match="detect-face"):
        supervisor.receive()


def test_a_peer_that_does_not_read_is_hung(ends: Ends) -> None:
    supervisor, _ = ends
    entry = Append(entries=("x" * 100_000,))
    with pytest.raises(ComponentHung, match="detect-face"):
        _send_for_ever(supervisor, entry)


def _send_for_ever(supervisor: SupervisorControl, message: ToComponent) -> None:
    while True:
        supervisor.send(message)


def test_our_own_faults(ends: Ends) -> None:
    supervisor, component = ends
    with pytest.raises(LocalProtocolError):
        component.send(Finish())  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError):
        supervisor.send(CONFIGURE, [0])
    with pytest.raises(LocalProtocolError):
        component.send(Finished(), [0])
    with pytest.raises(LocalProtocolError):
        supervisor.send(Append(entries=("x" * MAX_CONTROL_BYTES,)))
    with pytest.raises(LocalProtocolError):
        supervisor.send(OpenItem(item=0), [10_000])
    assert supervisor.fileno() >= 0
    supervisor.close()
    assert supervisor.fileno() == -1
    with pytest.raises(LocalProtocolError):
        supervisor.receive()


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from([kind.__name__ for kind in (*get_args(FromComponent), *get_args(ToComponent))])
bodies = trees | st.fixed_dictionaries({"item": trees, "frames": trees, "failure": trees})


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=60), st.builds(_packet, kinds | trees, bodies)))
def test_a_hostile_component_gets_nothing_but_protocol_errors(packet: bytes) -> None:
    ours, theirs = pair()
    theirs.send(packet)
    control = SupervisorControl(ours)
    try:
        received = control.receive()
        assert received is None or type(received[0]) in get_args(FromComponent)
    except (ProtocolError, ComponentDied):
        pass
    control.close()
    theirs.close()
