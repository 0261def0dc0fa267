"""What a source gives: pictures, and packets of the kept audio between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from veilbox.core.frozen import frozen
from veilbox.core.stream import AnalysisView, StreamInfo

# The longer side of the analysis picture for a width and a height.
CodedSide = Callable[[int, int], int]


@frozen
class AudioPacket:
    """One packet of the kept audio stream, as the source has it.

    Attributes:
        pts: In units of `AudioInfo.time_base`.
        dts: Likewise.
        duration: Likewise; 0 if unknown.
        flags: Bit 0: a decoder can start here.
        payload: The coded bytes.
    """

    pts: int
    dts: int
    duration: int
    flags: int
    payload: bytes


class Picture(Protocol):
    """One decoded frame, valid until the source's next one is asked for."""

    @property
    def pts(self) -> int:
        """When it shows, in units of `StreamInfo.time_base`."""

    @property
    def duration(self) -> int:
        """How long it shows, in the same units; 0 if unknown."""

    def copy_into(self, buffer: memoryview) -> None:
        """Write the samples as tight planes, in the order of `StreamInfo.layout`.

        Args:
            buffer: Writable, at least `layout.nbytes` long.
        """

    def analysis(self, view: AnalysisView) -> NDArray[np.uint8]:
        """The whole picture, scaled and upright.

        Returns:
            (view.height, view.width, 3) RGB, C-contiguous.
        """


class Source(Protocol):
    """An opened picture or film."""

    @property
    def info(self) -> StreamInfo:
        """What is known before the first frame."""

    def read(self) -> Iterator[Picture | AudioPacket]:
        """Every frame once, in order of presentation, with the kept audio's packets between.

        Raises:
            SourceCorrupt: The source cannot be decoded to its end.
            SourceUnsupported: Its size or format changes on the way.
        """

    def close(self) -> None:
        """Free the decoder; the file stays open."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
