"""A component's side of its conversation with the supervisor, and the one place where it waits.

Every wait ends after at most `BEAT_S`, sends a heartbeat and looks whether the supervisor still lives: a component
that does neither within the job's deadline is hung, whatever the reason.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Iterator, Sequence

from veilbox.core.control import Configure, EdgeEnd, Finish, FromComponent, Heartbeat, Probed, ToComponent
from veilbox.core.errors import ComponentDied, ProtocolError
from veilbox.metrics.clock import distance_ns, shift_ns
from veilbox.seal.probe import probe
from veilbox.transport.channel import Channel
from veilbox.transport.consumer import FrameView, RingConsumer
from veilbox.transport.control import ComponentControl
from veilbox.transport.messages import End, Start

# A quarter of the shortest deadline that a policy may set (one second), so that one late beat is no hang.
BEAT_S = 0.25


class SupervisorGone(Exception):
    """The supervisor closed the control socket: there is nobody to work for."""


class Session:
    """Messages from and to the supervisor; implements transport's `Waiter`.

    Args:
        control: The connected control channel.
        sealed: Whether to probe this process's walls; a thread of the supervisor has none.
    """

    def __init__(self, control: ComponentControl, *, sealed: bool) -> None:
        self._control = control
        self.sealed = sealed
        self._inbox: deque[tuple[ToComponent, list[int]]] = deque()
        self._last_beat = time.monotonic()
        # Edges stay open until the supervisor ends the pod, or a neighbour that is still reading would take the end
        # of our work for our death.
        self._channels: list[Channel] = []
        self._shift_ns = 0
        self.item = 0
        self.frames = 0

    def send(self, message: FromComponent, fds: Sequence[int] = ()) -> None:
        """Send one message."""
        self._control.send(message, fds)

    def configure(self) -> tuple[Configure, dict[EdgeEnd, Channel]]:
        """Wait for the settings, probe the walls and report them.

        Returns:
            The settings and a channel for each edge end.
        """
        message, fds = self.next_message()
        if not isinstance(message, Configure) or len(fds) != len(message.ends):
            raise ProtocolError("the first message must be the settings", actual=type(message).__name__)
        self._shift_ns = shift_ns(distance_ns(), message.clock_ns)
        channels = {end: Channel.from_fd(fd) for end, fd in zip(message.ends, fds, strict=True)}
        self._channels.extend(channels.values())
        if self.sealed:
            self.send(Probed(gates=probe(message.canaries)))
        return message, channels

    def host_ns(self) -> int:
        """CLOCK_MONOTONIC of the supervisor's kernel, which all components can compare."""
        return time.monotonic_ns() + self._shift_ns

    def messages(self) -> Iterator[tuple[ToComponent, list[int]]]:
        """Yield messages until the supervisor says that no more items follow."""
        while True:
            message, fds = self.next_message()
            if isinstance(message, Finish):
                return
            yield message, fds

    def next_message(self) -> tuple[ToComponent, list[int]]:
        """Wait for one message.

        Raises:
            SupervisorGone: The control socket was closed.
        """
        while not self._inbox:
            self.wait()
        return self._inbox.popleft()

    def arrived(self) -> tuple[ToComponent, list[int]] | None:
        """The next message if one has arrived and is not the end; for loops that also wait for edges."""
        return None if not self._inbox or isinstance(self._inbox[0][0], Finish) else self._inbox.popleft()

    @property
    def finishing(self) -> bool:
        """Whether the supervisor said that every item is settled."""
        return any(isinstance(message, Finish) for message, _ in self._inbox)

    def stream(self, ring: RingConsumer) -> Iterator[Start | FrameView | End]:
        """Yield what arrives on a ring until every item is settled."""
        while not self.finishing:
            message = ring.receive()
            if message is None:
                self.wait(readable=[ring.channel])
            else:
                self.beat()  # a reader that is never ahead of its ring would never wait
                yield message

    def called(self, channel: Channel) -> bool:
        """Wait until something has arrived on a channel, and leave it there; False if every item is settled before."""
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        while not self.finishing:
            if poll.poll(0):
                return True
            self.wait(readable=[channel])
        return False

    def wait(self, *, readable: Sequence[Channel] = (), writable: Sequence[Channel] = ()) -> None:
        """Wait for one of the channels, a control message or the next beat, whichever is first."""
        poll = select.poll()
        poll.register(self._control.fileno(), select.POLLIN)
        for channel in readable:
            poll.register(channel.fileno(), select.POLLIN)
        for channel in writable:
            poll.register(channel.fileno(), select.POLLOUT)
        ready = dict(poll.poll(BEAT_S * 1000))
        self.beat()
        if self._control.fileno() in ready:
            self._receive()

    def beat(self) -> None:
        """Send a heartbeat if one is due; long loops that never wait call this."""
        now = time.monotonic()
        if now - self._last_beat >= BEAT_S:
            self._last_beat = now
            self.send(Heartbeat(item=self.item, frames=self.frames))

    def await_end(self) -> None:
        """Wait until the supervisor closes the control socket; it reads our counters meanwhile."""
        try:
            while True:
                self.next_message()
        except SupervisorGone:
            return

    def close(self) -> None:
        """Close the control socket and the edges."""
        for channel in self._channels:
            channel.close()
        self._control.close()

    def _receive(self) -> None:
        try:
            received = self._control.receive()
        except ComponentDied as gone:
            raise SupervisorGone from gone
        if received is not None:
            message, fds = received
            self._inbox.append((message, fds))
