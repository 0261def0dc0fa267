"""What a component that was taken over can do against the machine, once it is handed its first item."""

from __future__ import annotations

import _thread
import os
import socket
import time

from veilbox.components.session import Session
from veilbox.core.control import Ready

_BLOCK = 16 << 20


def run(session: Session, attack: str) -> None:
    """Start as every component does, and attack with the first item."""
    session.configure()
    session.send(Ready(ready_ns=time.monotonic_ns()))
    for _, descriptors in session.messages():
        _ATTACKS[attack](session, descriptors)


def _memory(session: Session, descriptors: list[int]) -> None:
    del session, descriptors
    held = []
    while True:
        held.append(b"x" * _BLOCK)


def _threads(session: Session, descriptors: list[int]) -> None:
    del session, descriptors
    while True:
        try:
            _thread.start_new_thread(time.sleep, (1000,))
        except RuntimeError:
            time.sleep(0.01)


def _files(session: Session, descriptors: list[int]) -> None:
    del session, descriptors
    while True:
        os.open("/", os.O_RDONLY)


def _ring(session: Session, descriptors: list[int]) -> None:
    del session, descriptors
    number = 0
    while True:
        with open(f"/rings/raw/{number}", "wb", buffering=0) as file:
            number += 1
            while file.write(bytes(_BLOCK)) == _BLOCK:
                pass


def _output(session: Session, descriptors: list[int]) -> None:
    del session
    while os.write(descriptors[0], bytes(_BLOCK)) == _BLOCK:
        pass
    raise OSError("no more")


def _log(session: Session, descriptors: list[int]) -> None:
    del session, descriptors
    while True:
        os.write(2, b"x" * 65536)


def _messages(session: Session, descriptors: list[int]) -> None:
    del session, descriptors
    packet = b'{"type":"Heartbeat","body":{"item":0,"frames":0}}'
    with socket.socket(fileno=0) as control:
        while True:
            try:
                control.send(packet)
            except BlockingIOError:
                time.sleep(0)


def _processor(session: Session, descriptors: list[int]) -> None:
    del session, descriptors
    while True:
        pass


_ATTACKS = {
    "memory": _memory,
    "threads": _threads,
    "files": _files,
    "ring": _ring,
    "output": _output,
    "log": _log,
    "messages": _messages,
    "processor": _processor,
}
