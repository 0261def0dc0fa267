"""ingest: demux and decode one source after the other; the only component that sees a source.

Source file -> raw ring (full frames) and analysis ring (the picture at detection size).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from veilbox.components.edges import Edges
from veilbox.components.pace import pace_of
from veilbox.components.session import Session
from veilbox.core.control import ItemDone, ItemFailed, ItemStarted, OpenItem, Ready
from veilbox.core.errors import Failure, InputError, IsolationError, ProtocolError
from veilbox.core.policy import Keep, Policy
from veilbox.core.stream import AnalysisView, Kind, StreamInfo
from veilbox.core.timing import Timeline
from veilbox.media.source import AudioPacket, Picture, Source, open_source
from veilbox.seal.probe import reopens_for_writing
from veilbox.transport.info import encode_info
from veilbox.transport.messages import ANALYSED, Packet
from veilbox.transport.producer import RingProducer, Slot
from veilbox.transport.relay import Sender


def run(session: Session) -> None:
    """Decode every item that the supervisor opens."""
    configure, channels = session.configure()
    edges = Edges(configure, channels, session)
    session.send(Ready(ready_ns=time.monotonic_ns()))
    ingest = _Ingest(session, configure.policy, configure.ring_bytes, edges)
    for message, fds in session.messages():
        if not isinstance(message, OpenItem) or len(fds) != 1:
            raise ProtocolError("ingest takes sources only", actual=type(message).__name__)
        ingest.item(message, fds[0])
    ingest.leave()


class _Ingest:
    """One pod's ingest; sequence numbers run on from item to item."""

    def __init__(self, session: Session, policy: Policy, ring_bytes: int, edges: Edges) -> None:
        self._session = session
        self._policy = policy
        self._ring_bytes = ring_bytes
        self._raw: RingProducer | None = edges.ring_producer("raw")
        self._analysis: RingProducer | None = edges.ring_producer("analysis")
        self._audio: Sender | None = edges.audio_out()
        self._rings = [ring for ring in (self._raw, self._analysis) if ring is not None]
        self._sequence = 0

    def item(self, message: OpenItem, fd: int) -> None:
        """Decode one source to its end; a fault of the source ends this item only."""
        self._session.item, self._session.frames = message.item, 0
        started = False
        try:
            with os.fdopen(fd, "rb", buffering=0) as file, self._open(file, message) as source:
                view = self._view(source.info, message)
                self._start(message.item, source.info, view)
                started = True
                times = Timeline(source.info.seconds_per_pts)
                self._frames(source, view, times)
        except InputError as error:
            if started:
                self._end(message.item, aborted=True)
            self._session.send(ItemFailed(item=message.item, failure=Failure.of(error)))
            return
        self._end(message.item, aborted=False)
        self._session.send(ItemDone(item=message.item, frames=self._session.frames, times=times.word))

    def _open(self, file: BinaryIO, message: OpenItem) -> Source:
        if self._session.sealed and reopens_for_writing(file.fileno()):
            raise IsolationError(
                "the source could be changed by who reads it",
                where="ingest",
                expected="a descriptor on a read-only mount",
                advice="Use Linux 5.12 or later, or take the write permission of others from the file",
            )
        keep_audio = self._audio is not None and Keep.AUDIO in self._policy.keep
        return open_source(
            file,
            keep_audio=keep_audio,
            output_suffix=message.suffix,
            metadata=self._policy.metadata_fields,
            coded_side=None if self._raw is None or self._policy.encoding.re_encode else self._image_side,
        )

    def _image_side(self, width: int, height: int) -> int:
        return self._policy.detection.long_side(Kind.IMAGE, width, height)

    def _view(self, info: StreamInfo, message: OpenItem) -> AnalysisView:
        long_side = self._policy.detection.long_side(info.kind, info.width, info.height)
        return AnalysisView.fit(info, long_side=long_side, stride=message.analysis_stride)

    def _start(self, item: int, info: StreamInfo, view: AnalysisView) -> None:
        announced = encode_info(info, view)
        self._session.send(
            ItemStarted(
                item=item,
                first_sequence=self._sequence,
                kind=info.kind,
                width=info.width,
                height=info.height,
                frames=info.frames,
                rotation=info.rotation,
                metadata=info.metadata.word,
            )
        )
        pace = pace_of(self._policy, info, self._ring_bytes)
        if self._raw is not None:
            self._raw.start(item, announced, info.frame_nbytes, wanted_slots=pace.raw_slots)
        if self._analysis is not None:
            picture_bytes = view.width * view.height * 3
            self._analysis.start(item, announced, picture_bytes, wanted_slots=pace.analysis_slots)
        if self._audio is not None:
            self._audio.start(item)

    def _frames(self, source: Source, view: AnalysisView, times: Timeline) -> None:
        for index, part in enumerate(_pictures(source, self._send_audio)):
            decoded_ns = self._session.host_ns()
            analysed = index % self._policy.detection.sent_every == 0
            # The small picture goes first: detectors work while the full frame is being copied.
            if analysed and self._analysis is not None:
                slot = self._analysis.acquire()
                slot.buffer[:] = part.analysis(view).reshape(-1).data
                self._publish(self._analysis, slot, part, decoded_ns, flags=ANALYSED)
            times.add(part.pts)
            if self._raw is not None:
                slot = self._raw.acquire()
                part.copy_into(slot.buffer)
                self._publish(self._raw, slot, part, decoded_ns, flags=ANALYSED if analysed else 0)
            self._sequence += 1
            self._session.frames += 1
            self._session.beat()

    def _publish(self, ring: RingProducer, slot: Slot, part: Picture, decoded_ns: int, *, flags: int) -> None:
        ring.publish(
            slot,
            sequence=self._sequence,
            pts=part.pts,
            duration=part.duration,
            decoded_ns=decoded_ns,
            flags=flags,
        )

    def _send_audio(self, packet: AudioPacket) -> None:
        if self._audio is None:
            return
        self._audio.send(
            Packet(
                pts=packet.pts,
                dts=packet.dts,
                duration=packet.duration,
                flags=packet.flags,
                payload=packet.payload,
            )
        )

    def leave(self) -> None:
        """Give the rings' memory back."""
        for ring in self._rings:
            ring.leave()

    def _end(self, item: int, *, aborted: bool) -> None:
        for ring in self._rings:
            ring.end(item, aborted=aborted)
        if self._audio is not None:
            self._audio.end(item, aborted=aborted)


def _pictures(source: Source, on_audio: Callable[[AudioPacket], None]) -> Iterator[Picture]:
    for part in source.read():
        if isinstance(part, AudioPacket):
            on_audio(part)
        else:
            yield part
