"""What a component that was taken over can say: no message, messages of others, lies, and what no edge carries."""

from __future__ import annotations

import array
import json
import os
import select
import socket
import time
from collections.abc import Callable, Iterable

from veilbox.components.session import Session
from veilbox.core.control import (
    Appended,
    FromComponent,
    ItemDone,
    ItemStarted,
    LogOpened,
    Ready,
    Sealed,
    Verified,
)
from veilbox.core.stream import Kind

_MANY = 10**12
_BEAT_MS = 200


def run(session: Session, lie: str) -> None:
    """Start as every component does, and lie from the first item on."""
    _, channels = session.configure()
    edges = tuple(channel.fileno() for channel in channels.values())
    if lie == "silent":
        _wait_for_ever()
    if lie == "early":
        _lying(session)
    session.send(Ready(ready_ns=time.monotonic_ns()))
    if lie == "exit":
        os._exit(0)
    _LIES[lie](session, edges, _first_work(session, edges))
    _wait_for_ever()


def _first_work(session: Session, edges: tuple[int, ...]) -> list[int]:
    """Wait for the supervisor's first word or a peer's; the descriptors that came with the supervisor's."""
    look = select.poll()
    for number in (0, *edges):
        look.register(number, select.POLLIN)
    while not (ready := dict(look.poll(_BEAT_MS))):
        session.beat()
    return session.next_message()[1] if 0 in ready else []


def _wait_for_ever() -> None:
    while True:
        time.sleep(1)


def _wire() -> socket.socket:
    return socket.socket(fileno=0)


def _garbage(session: Session, edges: tuple[int, ...], descriptors: list[int]) -> None:
    del session, edges, descriptors
    _wire().send(bytes(range(256)))


def _nesting(session: Session, edges: tuple[int, ...], descriptors: list[int]) -> None:
    """JSON so deep that a parser which calls itself would die of it."""
    del session, edges, descriptors
    _wire().send(b"[" * 60_000 + b"]" * 60_000)


def _numbers(session: Session, edges: tuple[int, ...], descriptors: list[int]) -> None:
    """A number of a hundred thousand digits where a count belongs."""
    del session, edges, descriptors
    _wire().send(b'{"type":"Heartbeat","body":{"item":' + b"9" * 100_000 + b',"frames":0}}')


def _words(session: Session, edges: tuple[int, ...], descriptors: list[int]) -> None:
    """An error whose text is long and full of control characters."""
    del session, edges, descriptors
    failure = dict.fromkeys(("what", "where", "expected", "actual", "advice"), "\x1b[2J\n" * 5000)
    _wire().send(json.dumps({"type": "Faulted", "body": {"failure": {"kind": "SourceCorrupt", **failure}}}).encode())


def _lying(session: Session) -> None:
    session.send(ItemDone(item=99, frames=_MANY))


def _lie(session: Session, edges: tuple[int, ...], descriptors: list[int]) -> None:
    del edges, descriptors
    _lying(session)


def _impostor(session: Session, edges: tuple[int, ...], descriptors: list[int]) -> None:
    """Everything that only others may say; what is one's own among it comes too early, or for another item."""
    del edges, descriptors
    for message in _of_everybody():
        session.send(message)


def _of_everybody() -> Iterable[FromComponent]:
    yield ItemStarted(item=7, first_sequence=0, kind=Kind.FILM, width=8, height=8, frames=1, rotation=0)
    yield Verified(item=7, frames=1, regions=0, searched=0, side=0, findings=())
    yield LogOpened(key="k", size=0, recovered_bytes=0)
    yield Appended(index=0, digest="0" * 64)
    yield Sealed(origin="o", first=0, index=0, leaf="0" * 64, size=1, checkpoint="c", proof=())
    yield ItemDone(item=7, frames=1)


def _descriptors(session: Session, edges: tuple[int, ...], descriptors: list[int]) -> None:
    """What it holds, handed to the supervisor."""
    del session
    _hand_over(_wire(), [*edges, *descriptors], b'{"type":"Heartbeat","body":{"item":0,"frames":0}}')


def _edge_descriptors(session: Session, edges: tuple[int, ...], descriptors: list[int]) -> None:
    """What it holds, the source or the output too, handed to every peer."""
    del session
    for number in edges:
        _hand_over(socket.socket(fileno=os.dup(number)), [*edges, *descriptors], b"\x01\x01" + bytes(64))


def _hand_over(end: socket.socket, held: list[int], packet: bytes) -> None:
    end.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", held))])


def _edges(session: Session, edges: tuple[int, ...], descriptors: list[int]) -> None:
    """Packets of every kind with the largest numbers that fit, on every edge."""
    del session, descriptors
    for number in edges:
        end = socket.socket(fileno=os.dup(number))
        for kind in range(8):
            end.send(bytes([1, kind]) + b"\x7f" * 62)


_LIES: dict[str, Callable[[Session, tuple[int, ...], list[int]], None]] = {
    "garbage": _garbage,
    "nesting": _nesting,
    "numbers": _numbers,
    "words": _words,
    "lie": _lie,
    "impostor": _impostor,
    "descriptors": _descriptors,
    "edge-descriptors": _edge_descriptors,
    "edges": _edges,
}
