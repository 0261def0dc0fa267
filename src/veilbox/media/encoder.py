"""The one door to outputs."""

from __future__ import annotations

from types import TracebackType
from typing import BinaryIO, Protocol, Self

from veilbox.core.policy import Encoding
from veilbox.core.stream import Kind, StreamInfo
from veilbox.media.film_encoder import FilmEncoder
from veilbox.media.formats import film_format, image_format
from veilbox.media.picture import AudioPacket


class Encoder(Protocol):
    """An output being written. Leaving it by an exception leaves the file unfinished."""

    def write(self, buffer: memoryview, pts: int, duration: int) -> None:
        """Encode one frame.

        Args:
            buffer: Tight planes in the order of `StreamInfo.layout`; free again on return.
            pts: In units of `StreamInfo.time_base`, greater than the last.
            duration: In the same units; 0 if unknown.

        Raises:
            OutputError: The file cannot be written.
        """

    def write_audio(self, packet: AudioPacket) -> None:
        """Copy one packet of the kept audio stream."""

    def close(self) -> None:
        """Finish the file; a second call does nothing.

        Raises:
            OutputError: The file cannot be written.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_encoder(
    file: BinaryIO, suffix: str, info: StreamInfo, encoding: Encoding | None = None, *, threads: int = 0
) -> Encoder:
    """Start an output with the source's geometry, timing and colour, and no other word about it.

    Args:
        file: Opened for writing in binary mode, seekable and empty; stays open.
        suffix: Names the container, lower case without dot.
        info: The stream that will be written.
        encoding: Encoder, preset and quality; None takes the defaults.
        threads: Of the encoder; 0 lets it choose.

    Raises:
        UsageError: Suffix, encoder, options and stream do not go together.
        OutputError: The file cannot be written.
    """
    chosen = encoding or Encoding()
    if info.kind is Kind.IMAGE:
        from veilbox.media.image_encoder import ImageEncoder  # noqa: PLC0415 - Pillow, for pictures only

        return ImageEncoder(file, image_format(suffix), info, chosen)
    return FilmEncoder(file, film_format(suffix), info, chosen, threads=threads)
