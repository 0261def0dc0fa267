"""verify: look at a finished output again, as a stranger would; it never sees a source, a ring or a raw pixel.

Staged output (read-only) + which regions were to be hidden (numbers) -> findings. The file's structure is held against
an allow-list; every frame is decoded and its regions looked at; detectors of their own look at frames at another scale
than those that found the regions.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from veilbox.components.edges import Edges
from veilbox.components.session import Session
from veilbox.components.told_regions import ToldRegions
from veilbox.core.control import Configure, OpenOutput, Ready
from veilbox.core.errors import ComponentDied, IsolationError, ProtocolError
from veilbox.seal.probe import reopens_for_writing
from veilbox.transport.channel import Channel
from veilbox.transport.messages import Boxes, End, Packet, Start
from veilbox.transport.relay import Receiver

if TYPE_CHECKING:
    from veilbox.components.second_look import SecondLook

# Numbers of a film of a day in which a hundred people are always seen; beyond it somebody fills our memory.
_MOST_REGION_BYTES = 512 << 20


def run(session: Session) -> None:
    """Look at every output that the supervisor opens."""
    configure, channels = session.configure()
    edges = Edges(configure, channels, session)
    session.send(Ready(ready_ns=time.monotonic_ns()))
    _Verify(session, configure, edges).run()


@dataclass(slots=True)
class _Hidden:
    """What is known of an item."""

    frames: ToldRegions = field(default_factory=ToldRegions)
    complete: bool = False


class _Verify:
    """The loop: regions arrive while films are being made, outputs when they are."""

    def __init__(self, session: Session, configure: Configure, edges: Edges) -> None:
        self._session = session
        self._policy = configure.policy
        self._regions: Receiver = edges.regions_in()
        self._edges = edges
        self._second: SecondLook | None = None
        self._hidden: dict[int, _Hidden] = {}
        self._item = -1
        self._bytes = 0
        self._over = False

    def run(self) -> None:
        """Work until the supervisor says that no more items follow."""
        while not self._session.finishing:
            arrived = self._session.arrived()
            if arrived is not None:
                message, fds = arrived
                if not isinstance(message, OpenOutput) or len(fds) != 1:
                    raise ProtocolError("verify takes outputs only", actual=type(message).__name__)
                self._look(message, fds[0])
            elif not self.receive():
                self._session.wait(readable=self._readable)

    @property
    def _readable(self) -> list[Channel]:
        return [] if self._over else [self._regions.channel]

    def receive(self) -> bool:
        """Take in one message about regions, if one has arrived."""
        message = self._next()
        match message:
            case None:
                return False
            case Start():
                self._item = message.item
                self._hidden[message.item] = _Hidden()
            case Boxes():
                self._keep(message.payload)
            case End():
                self._end(message)
        return True

    def _next(self) -> Start | Boxes | Packet | End | None:
        """Whoever tells regions may leave when its last item is done; before that its silence is its death."""
        try:
            return None if self._over else self._regions.receive()
        except ComponentDied:
            if not all(hidden.complete for hidden in self._hidden.values()):
                raise
            self._over = True
            return None

    def _prepare(self) -> SecondLook:
        """Load decoders and arrays once the first frame has been redacted: before, others need the processors."""
        if self._second is None:
            from veilbox.components import look  # noqa: F401, PLC0415 - all that `_look` needs
            from veilbox.components.second_look import SecondLook  # noqa: PLC0415

            self._second = SecondLook(self._edges, self._session)
        return self._second

    def _keep(self, payload: bytes) -> None:
        self._prepare()
        self._hidden[self._item].frames.append(payload)
        self._bytes += len(payload)
        if self._bytes > _MOST_REGION_BYTES:
            raise ProtocolError("more regions than a film can have", expected=f"<= {_MOST_REGION_BYTES} bytes")

    def _end(self, end: End) -> None:
        self._hidden[end.item].complete = True
        if end.aborted:  # an item before it may still wait to be looked at
            self._drop(end.item)

    def _forget(self, item: int) -> None:
        """Also what is known of items before it, which failed elsewhere: outputs are opened in order."""
        for number in [number for number in self._hidden if number <= item]:
            self._drop(number)

    def _drop(self, item: int) -> None:
        self._bytes -= self._hidden.pop(item).frames.nbytes

    def _look(self, message: OpenOutput, fd: int) -> None:
        self._session.item, self._session.frames = message.item, 0
        with os.fdopen(fd, "rb", buffering=0) as file:
            while not (known := self._hidden.get(message.item)) or not known.complete:
                if self._over:
                    raise ProtocolError("nobody tells the regions of an output", actual=f"item {message.item}")
                if not self.receive():
                    self._session.wait(readable=self._readable)
            if self._session.sealed and reopens_for_writing(fd):
                raise IsolationError("the output could be changed by who looks at it", where="verify")
            from veilbox.components.look import Look  # noqa: PLC0415 - see `_prepare`

            look = Look(self._session, self._policy, self._prepare(), message, known.frames, receive=self.receive)
            self._session.send(look.run(file))
        self._forget(message.item)
