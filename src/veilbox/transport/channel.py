"""The socket of one edge: whole messages, never blocking, every packet checked."""

from __future__ import annotations

import errno
import os
import socket
from typing import Self

from veilbox.core.errors import ComponentDied, MachineError, ProtocolError
from veilbox.transport.messages import MAX_PACKET_BYTES, LocalProtocolError, Message, decode, encode
from veilbox.transport.waiting import Waiter

# Room for one packet of the largest size and the frame messages of a whole ring beside it.
_BUFFER_BYTES = 1 << 20
# Larger than the operating system's bound allows; a privileged process may pass it. From <asm-generic/socket.h>,
# Python's socket module does not name it.
_SO_SNDBUFFORCE = 32


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of an edge or of a control connection: SOCK_SEQPACKET, not inherited, room for 1 MiB each way.

    An unprivileged process gets as much as net.core.wmem_max allows.
    """
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        try:
            end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER_BYTES)
        except PermissionError:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    return ends


def adopt(fd: int) -> socket.socket:
    """The SOCK_SEQPACKET Unix socket behind a descriptor that was handed to us; owns the descriptor from now on.

    Raises:
        ProtocolError: It is another kind of file; the descriptor is closed.
    """
    try:
        end = socket.socket(fileno=fd)
    except OSError as error:
        os.close(fd)
        raise ProtocolError(
            "the descriptor is no socket", expected="a SOCK_SEQPACKET Unix socket", actual=error.strerror or ""
        ) from error
    if (end.family, end.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        actual = f"{end.family!r}, {end.type!r}"
        end.close()
        raise ProtocolError("a socket of the wrong kind", expected="a SOCK_SEQPACKET Unix socket", actual=actual)
    return end


def read_packet(
    end: socket.socket, buffer: memoryview, ancillary_bytes: int = 0
) -> tuple[int, list[tuple[int, int, bytes]], int] | None:
    """Read one packet without waiting.

    Args:
        end: A non-blocking socket.
        buffer: Where the packet goes.
        ancillary_bytes: Room for descriptors; they arrive closed on exec.

    Returns:
        Length (0 at the end), ancillary data and flags; None if nothing has arrived.
    """
    for _ in range(2):
        try:
            length, ancillary, flags, _sender = end.recvmsg_into((buffer,), ancillary_bytes, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            # A peer that closed with unread packets of ours: told once, before its own last packets are delivered.
            continue
        return length, ancillary, flags
    return 0, [], 0


class Channel:
    """One end of an edge.

    Args:
        end: A connected SOCK_SEQPACKET Unix socket; the channel owns it and makes it non-blocking.
        name: What to call the peer in errors, for example `raw from ingest`.
    """

    def __init__(self, end: socket.socket, name: str = "edge") -> None:
        end.settimeout(0)
        self._socket = end
        # One byte more than any packet, so that a longer one shows.
        self._buffer = memoryview(bytearray(MAX_PACKET_BYTES + 1))
        self.name = name

    @classmethod
    def from_fd(cls, fd: int, name: str = "edge") -> Self:
        """The channel on a descriptor that came over the control channel; owns the descriptor."""
        return cls(adopt(fd), name)

    def fileno(self) -> int:
        """The descriptor, for poll; -1 once closed."""
        return self._socket.fileno()

    def try_send(self, message: Message) -> bool:
        """Send a message unless the buffer is full.

        Returns:
            Whether it was sent.

        Raises:
            ComponentDied: The peer closed its end.
        """
        return self._try_send(encode(message))

    def send(self, message: Message, waiter: Waiter) -> None:
        """Send a message; while the buffer is full the waiter waits."""
        packet = encode(message)
        while not self._try_send(packet):
            waiter.wait(writable=(self,))

    def receive(self) -> Message | None:
        """The next message, or None if none has arrived.

        Raises:
            ComponentDied: The peer closed its end (an empty packet reads as that too).
            ProtocolError: What arrived is no message, is too long or carries a descriptor.
        """
        try:
            # No room for descriptors: the kernel drops them and says so in MSG_CTRUNC.
            arrived = read_packet(self._socket, self._buffer)
        except OSError as error:
            raise self._gone(error) from error
        if arrived is None:
            return None
        length, _, flags = arrived
        if flags & socket.MSG_CTRUNC:
            raise ProtocolError("unexpected descriptor", where=self.name, expected="pixels and messages only")
        if length == 0:
            raise ComponentDied("the peer closed its end of the edge", where=self.name)
        if length > MAX_PACKET_BYTES or flags & socket.MSG_TRUNC:
            raise ProtocolError(
                "packet too long", where=self.name, expected=f"<= {MAX_PACKET_BYTES} bytes", actual=f">= {length} bytes"
            )
        return self._decoded(bytes(self._buffer[:length]))

    def close(self) -> None:
        """Close the socket; the peer sees the end of the edge."""
        self._socket.close()

    def _decoded(self, packet: bytes) -> Message:
        try:
            return decode(packet)
        except ProtocolError as error:
            raise error.located(self.name) from error

    def _try_send(self, packet: bytes) -> bool:
        try:
            self._socket.send(packet, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._refused(error, len(packet)) from error
        return True

    def _refused(self, error: OSError, length: int) -> Exception:
        if error.errno == errno.EMSGSIZE:
            return MachineError(
                "the system's socket buffers are too small for one packet",
                where=self.name,
                expected=f">= {length} bytes",
                advice="Raise net.core.wmem_max to 1048576",
            )
        return self._gone(error)

    def _gone(self, error: OSError) -> Exception:
        if error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
            return ComponentDied("the peer closed its end of the edge", where=self.name)
        return LocalProtocolError(f"{self.name}: {error}")
