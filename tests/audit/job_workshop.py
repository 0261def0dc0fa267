"""The audit component in a thread, with the test as its supervisor."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from veilbox.components import audit, entry
from veilbox.core.control import (
    Canaries,
    Configure,
    FromComponent,
    Heartbeat,
    Hello,
    OpenLog,
    Ready,
    ToComponent,
)
from veilbox.core.policy import Policy
from veilbox.orchestrate.audit_log import LogFolder
from veilbox.transport.control import SupervisorControl


class Talk:
    """A supervisor's side, and the component in a thread."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = SupervisorControl(ours, "audit")
        self.thread = threading.Thread(target=entry.serve, args=("audit", audit, theirs), kwargs={"first_ns": 0})
        self.thread.start()
        canaries = Canaries(path="/nowhere", tcp_port=1, abstract_socket="none")
        self.control.send(Configure(policy=Policy(), ends=(), canaries=canaries, ring_bytes=0))

    def ask(self, message: ToComponent, fds: Sequence[int] = ()) -> FromComponent:
        self.control.send(message, fds)
        return self.answer()

    def answer(self) -> FromComponent:
        """The next message that answers something."""
        while True:
            received = self.control.receive()
            if received is not None and not isinstance(received[0], Hello | Ready | Heartbeat):
                return received[0]

    def open(self, folder: LogFolder) -> FromComponent:
        with folder.descriptors() as (first, fds):
            return self.ask(OpenLog(first=first), fds)


@contextmanager
def talking() -> Iterator[Talk]:
    talk = Talk()
    try:
        yield talk
    finally:
        talk.control.close()
        talk.thread.join()
