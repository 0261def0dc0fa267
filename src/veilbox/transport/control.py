"""The socket between the supervisor and one component: JSON messages and the descriptors beside them.

Sending never waits. A component that does not read for so long that its buffer fills up is hung, and so is a
supervisor.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, get_args

from veilbox.core.control import Configure, FromComponent, OpenClaim, OpenItem, OpenLog, OpenOutput, Seal, ToComponent
from veilbox.core.errors import ComponentDied, ComponentHung, ProtocolError
from veilbox.transport.channel import read_packet
from veilbox.transport.messages import LocalProtocolError
from veilbox.transport.strict_json import parse, read, to_json

Sent = TypeVar("Sent")
Received = TypeVar("Received")

# Probed, the longest message, is about 12 KiB; a report of a thousand classes stays below this too.
MAX_CONTROL_BYTES = 256 << 10
# Anonymize has the most edges: raw, clean, and boxes from each detector.
MAX_DESCRIPTORS = 16
# Entries, tree, checkpoints, key.
LOG_DESCRIPTORS = 4
_FD_BYTES = array.array("i").itemsize


class ControlChannel(Generic[Sent, Received]):
    """One end of a control connection; see `SupervisorControl` and `ComponentControl`.

    Args:
        end: A connected SOCK_SEQPACKET Unix socket; the channel owns it and makes it non-blocking.
        name: What to call the peer in errors.
        sends: The classes that may be sent.
        receives: The classes that may arrive.
    """

    def __init__(
        self, end: socket.socket, name: str, sends: Sequence[type[Sent]], receives: Sequence[type[Received]]
    ) -> None:
        end.settimeout(0)
        self._socket = end
        self._buffer = memoryview(bytearray(MAX_CONTROL_BYTES + 1))
        self._sends = tuple(sends)
        self._receives = {kind.__name__: kind for kind in receives}
        self.name = name

    def fileno(self) -> int:
        """The descriptor, for poll; -1 once closed."""
        return self._socket.fileno()

    def send(self, message: Sent, fds: Sequence[int] = ()) -> None:
        """Send a message and duplicates of descriptors; the caller keeps and closes its own.

        Raises:
            ComponentDied: The peer closed its end. What it sent before can still be received.
            ComponentHung: The peer does not read.
        """
        if type(message) not in self._sends:
            raise LocalProtocolError(f"{type(message).__name__} is not for {self.name}")
        low, high = _descriptors(message)
        if not low <= len(fds) <= high:
            raise LocalProtocolError(f"{type(message).__name__} goes with {low} to {high} descriptors, not {len(fds)}")
        packet = to_json({"type": type(message).__name__, "body": message})
        if len(packet) > MAX_CONTROL_BYTES:
            raise LocalProtocolError(f"{type(message).__name__} of {len(packet)} bytes is too long")
        self._send(packet, fds)

    def receive(self) -> tuple[Received, list[int]] | None:
        """The next message and its descriptors, or None if none has arrived.

        The descriptors are closed on exec and belong to the caller; if the message is refused they are closed.

        Raises:
            ComponentDied: The peer closed its end.
            ProtocolError: What arrived is not for this side.
        """
        try:
            arrived = read_packet(self._socket, self._buffer, socket.CMSG_SPACE(MAX_DESCRIPTORS * _FD_BYTES))
        except OSError as error:
            raise LocalProtocolError(f"{self.name}: {error}") from error
        if arrived is None:
            return None
        length, ancillary, flags = arrived
        fds = _received_descriptors(ancillary)
        try:
            return self._checked(length, flags, len(fds)), fds
        except BaseException as error:
            for fd in fds:
                os.close(fd)
            if isinstance(error, ProtocolError):
                raise error.located(self.name) from error
            raise

    def close(self) -> None:
        """Close the socket; the peer sees the end."""
        self._socket.close()

    def _send(self, packet: bytes, fds: Sequence[int]) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.sendmsg((packet,), ancillary, socket.MSG_NOSIGNAL)
        except BlockingIOError as error:
            raise ComponentHung("does not read its control socket", where=self.name) from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ComponentDied("closed its control socket", where=self.name) from error
        except OSError as error:
            raise LocalProtocolError(f"{self.name}: {error}") from error

    def _checked(self, length: int, flags: int, fds: int) -> Received:
        if flags & socket.MSG_CTRUNC:
            raise ProtocolError("too many descriptors", expected=f"<= {MAX_DESCRIPTORS}")
        if length > MAX_CONTROL_BYTES or flags & socket.MSG_TRUNC:
            raise ProtocolError("control message too long", expected=f"<= {MAX_CONTROL_BYTES} bytes")
        if length == 0:
            raise ComponentDied("closed its control socket", where=self.name)
        message = self._decoded(bytes(self._buffer[:length]))
        low, high = _descriptors(message)
        if not low <= fds <= high:
            raise ProtocolError(
                f"wrong number of descriptors with {type(message).__name__}",
                expected=f"{low} to {high}",
                actual=str(fds),
            )
        return message

    def _decoded(self, packet: bytes) -> Received:
        tree = parse(packet, "control message")
        if not isinstance(tree, dict) or tree.keys() != {"type", "body"}:
            raise ProtocolError("not a control message", expected='{"type": ..., "body": ...}')
        kind = self._receives.get(tree["type"]) if isinstance(tree["type"], str) else None
        if kind is None:
            raise ProtocolError(
                "control message of a type that this side does not take",
                expected=", ".join(self._receives),
                actual=str(tree["type"]),
            )
        return read(tree["body"], kind, kind.__name__)


class SupervisorControl(ControlChannel[ToComponent, FromComponent]):
    """The supervisor's end.

    Args:
        end: As in `ControlChannel`.
        name: The component's name.
    """

    def __init__(self, end: socket.socket, name: str = "component") -> None:
        super().__init__(end, name, get_args(ToComponent), get_args(FromComponent))


class ComponentControl(ControlChannel[FromComponent, ToComponent]):
    """A component's end.

    Args:
        end: As in `ControlChannel`.
    """

    def __init__(self, end: socket.socket) -> None:
        super().__init__(end, "supervisor", get_args(FromComponent), get_args(ToComponent))


def _descriptors(message: Any) -> tuple[int, int]:
    """The fewest and the most descriptors that go with a message."""
    if isinstance(message, Configure):
        return len(message.ends), len(message.ends)
    if isinstance(message, OpenLog):
        return LOG_DESCRIPTORS, LOG_DESCRIPTORS
    if isinstance(message, OpenClaim):
        return 2, 2
    if isinstance(message, Seal | OpenOutput):
        return 1, 1
    return (0, 1) if isinstance(message, OpenItem) else (0, 0)


def _received_descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % _FD_BYTES])
    return list(fds)
