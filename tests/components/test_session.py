"""A component tells that it lives, however busy it is."""

from __future__ import annotations

import socket
import time
from itertools import islice
from typing import cast

import pytest

from veilbox.components.session import BEAT_S, Session
from veilbox.core.control import Heartbeat
from veilbox.transport.consumer import RingConsumer
from veilbox.transport.control import ComponentControl, SupervisorControl
from veilbox.transport.messages import End


class _FullRing:
    """A ring whose producer is always ahead."""

    def receive(self) -> End:
        return End(item=0, frames=0, aborted=False)


def test_a_component_that_never_waits_sends_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    session, supervisor = Session(ComponentControl(theirs), sealed=False), SupervisorControl(ours)
    for _ in islice(session.stream(cast("RingConsumer", _FullRing())), 8):
        now[0] += BEAT_S / 2
    beats = 0
    while (received := supervisor.receive()) is not None:
        assert isinstance(received[0], Heartbeat)
        beats += 1
    assert beats == 3
    session.close()
    supervisor.close()
