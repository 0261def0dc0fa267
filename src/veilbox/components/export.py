"""export: encode and mux clean frames; it never sees a raw pixel, and writes to the one descriptor it is given."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from typing import BinaryIO

from veilbox.components.edges import Edges
from veilbox.components.session import Session
from veilbox.core.control import Configure, ItemDone, ItemFailed, OpenItem, Ready
from veilbox.core.errors import Failure, OutputError, ProtocolError, UsageError, VeilboxError
from veilbox.core.policy import Policy
from veilbox.media.encoder import Encoder, open_encoder
from veilbox.media.source import AudioPacket
from veilbox.metrics.histogram import Histogram
from veilbox.transport.channel import Channel
from veilbox.transport.consumer import FrameView, RingConsumer
from veilbox.transport.info import decode_info
from veilbox.transport.messages import End, Packet, Start
from veilbox.transport.relay import Receiver


def run(session: Session) -> None:
    """Encode every item that arrives on the clean ring."""
    configure, channels = session.configure()
    edges = Edges(configure, channels, session)
    session.send(Ready(ready_ns=time.monotonic_ns()))
    _Export(session, configure, edges).run()


class _Output:
    """One item being written."""

    def __init__(self, item: int, file: BinaryIO, encoder: Encoder) -> None:
        self.item = item
        self.encoder = encoder
        self._file = file
        self.latency = Histogram()
        self.frames = 0
        self.first_frame_ns = 0

    def write(self, frame: FrameView, now: int) -> None:
        """Hand one clean frame to the encoder; the time is the supervisor's clock's."""
        self.first_frame_ns = self.first_frame_ns or now
        self.encoder.write(frame.buffer, frame.frame.pts, frame.frame.duration)
        self.latency.record(max(0, now - frame.frame.decoded_ns) // 1000)
        self.frames += 1

    def finish(self) -> None:
        """Write the trailer and let go of the file, which makes it ready for release."""
        self.encoder.close()
        self.discard()

    def discard(self) -> None:
        """Let go of the file, finished or not; the supervisor decides what becomes of it."""
        self._file.close()

    def done(self) -> ItemDone:
        """What the supervisor learns at the end."""
        return ItemDone(
            item=self.item,
            frames=self.frames,
            latency_us=self.latency.packed(),
            first_frame_ns=self.first_frame_ns,
        )


class _Export:
    """The loop: video from the clean ring, audio beside it, one output at a time."""

    def __init__(self, session: Session, configure: Configure, edges: Edges) -> None:
        self._session = session
        self._policy: Policy = configure.policy
        self._ring: RingConsumer = edges.ring_consumer("clean")
        self._audio: Receiver | None = edges.audio_in()
        self._files: dict[int, OpenItem] = {}
        self._descriptors: dict[int, int] = {}
        self._output: _Output | None = None
        # Between an item's start and its audio's end: packets of the next item must not reach this one's file.
        self._audio_open = False
        self._video_end: End | None = None

    def run(self) -> None:
        """Work until the supervisor says that no more items follow."""
        while not self._session.finishing:
            if not (self._video_step() or self._audio_step()):
                self._session.wait(readable=self._awaited())

    def _awaited(self) -> list[Channel]:
        """What the steps read now; a channel that they leave alone would end every wait at once."""
        video = [] if self._video_end is not None else [self._ring.channel]
        audio = [self._audio.channel] if self._audio is not None and self._audio_open else []
        return video + audio

    def _video_step(self) -> bool:
        if self._video_end is not None:
            return False  # the item waits for the end of its audio
        message = self._ring.receive()
        match message:
            case None:
                return False
            case Start():
                self._start(message)
            case FrameView():
                self._frame(message)
            case End():
                self._video_end = message
                self._close_if_complete()
        return True

    def _audio_step(self) -> bool:
        if self._audio is None or not self._audio_open:
            return False
        message = self._audio.receive()
        match message:
            case None:
                return False
            case Packet():
                self._guarded(lambda output: output.encoder.write_audio(_audio_packet(message)))
            case End():
                self._audio_open = False
                self._close_if_complete()
            case _:
                pass  # the clean ring says when an item starts
        return True

    def _start(self, start: Start) -> None:
        self._session.item, self._session.frames = start.item, 0
        self._audio_open = self._audio is not None
        opened, fd = self._take(start.item)
        info, _ = decode_info(start.info)
        if self._audio is None:
            info = dataclasses.replace(info, audio=None)  # also if somebody upstream announces some
        info = dataclasses.replace(info, metadata=info.metadata.only(self._policy.metadata_fields))
        file = os.fdopen(fd, "w+b", buffering=0)
        try:
            encoder = open_encoder(file, opened.suffix, info, self._policy.encoding)
        except (OutputError, UsageError) as error:
            file.close()
            self._fail(start.item, error)
            return
        self._output = _Output(start.item, file, encoder)

    def _take(self, item: int) -> tuple[OpenItem, int]:
        """The opened output of an item; outputs of items that never started are closed."""
        while item not in self._files:
            message, fds = self._session.next_message()
            if not isinstance(message, OpenItem) or len(fds) != 1:
                raise ProtocolError("export takes outputs only", actual=type(message).__name__)
            self._files[message.item] = message
            self._descriptors[message.item] = fds[0]
        for stale in [number for number in self._files if number < item]:
            del self._files[stale]
            os.close(self._descriptors.pop(stale))
        return self._files.pop(item), self._descriptors.pop(item)

    def _frame(self, frame: FrameView) -> None:
        self._guarded(lambda output: output.write(frame, self._session.host_ns()))
        self._ring.release(frame)
        self._session.frames += 1
        self._session.beat()

    def _guarded(self, write: Callable[[_Output], None]) -> None:
        """Write to the current output; a full disk fails the item, whose rest is then only drained."""
        if self._output is None:
            return
        try:
            write(self._output)
        except (OutputError, UsageError) as error:
            self._fail(self._output.item, error)

    def _fail(self, item: int, error: VeilboxError) -> None:
        if self._output is not None:
            self._output.discard()
            self._output = None
        self._session.send(ItemFailed(item=item, failure=Failure.of(error)))

    def _close_if_complete(self) -> None:
        end = self._video_end
        if end is None or self._audio_open:
            return
        self._video_end = None
        output = self._output
        if output is None:
            return
        if end.aborted:
            output.discard()
        else:
            self._guarded(_Output.finish)
            if self._output is not None:
                self._session.send(output.done())
        self._output = None


def _audio_packet(message: Packet) -> AudioPacket:
    return AudioPacket(
        pts=message.pts,
        dts=message.dts,
        duration=message.duration,
        flags=message.flags,
        payload=message.payload,
    )
