"""Planes of decoded frames and of ring slots as arrays of bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from veilbox.core.frame import FrameLayout


def slot_planes(buffer: memoryview, layout: FrameLayout) -> Iterator[NDArray[np.uint8]]:
    """The tight planes of a slot.

    Args:
        buffer: At least `layout.nbytes` long.
        layout: Where the planes lie.

    Returns:
        For each plane (rows, bytes of a row) uint8, a view of the buffer.
    """
    flat = np.frombuffer(buffer, np.uint8, layout.nbytes)
    for index in range(len(layout.format.planes)):
        start, rows = layout.plane_offset(index), layout.plane_shape(index)[0]
        yield flat[start : start + layout.plane_nbytes(index)].reshape(rows, -1)


def frame_planes(frame: VideoFrame, layout: FrameLayout) -> Iterator[NDArray[np.uint8]]:
    """The planes of a frame of FFmpeg's, whose rows are padded.

    Args:
        frame: Of the layout's size and of a format with the same memory as the layout's.
        layout: As in the ring.

    Returns:
        As `slot_planes`, views of the frame's memory.
    """
    for index, plane in enumerate(frame.planes):
        rows, columns, components = layout.plane_shape(index)
        padded = np.frombuffer(memoryview(plane), np.uint8).reshape(rows, -1)
        if plane.line_size < 0:  # stored bottom row first
            padded = padded[::-1]
        yield padded[:, : columns * components * layout.format.sample_bytes]
