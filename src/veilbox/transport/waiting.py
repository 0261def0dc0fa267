"""The seam through which this room waits: whoever owns the main loop decides how, and keeps its heartbeat."""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from veilbox.transport.channel import Channel


class Waiter(Protocol):
    """Waits for channels on behalf of producers and consumers."""

    def wait(self, *, readable: Sequence[Channel] = (), writable: Sequence[Channel] = ()) -> None:
        """Return when a channel may be ready, or earlier; the caller looks again and comes back.

        May raise whatever ends the caller's work.
        """


class PollWaiter:
    """Waits with poll(2) and nothing else; for tests and programs without a supervisor.

    Args:
        beat_ms: Returns after so many milliseconds at the latest.
    """

    def __init__(self, beat_ms: int = 250) -> None:
        self._beat_ms = beat_ms

    def wait(self, *, readable: Sequence[Channel] = (), writable: Sequence[Channel] = ()) -> None:
        """Wait until one of the channels is ready, or a beat long."""
        poll = select.poll()
        for channel in readable:
            poll.register(channel.fileno(), select.POLLIN)
        for channel in writable:
            poll.register(channel.fileno(), select.POLLOUT)
        poll.poll(self._beat_ms)
