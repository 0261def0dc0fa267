"""A frame's samples as arrays over the bytes of a ring slot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veilbox.core.errors import ProtocolError
from veilbox.core.frame import FrameLayout

# One plane, or a part of one: (rows, columns, components).
Samples = NDArray[np.uint8] | NDArray[np.uint16]


def planes_of(buffer: memoryview, layout: FrameLayout) -> list[Samples]:
    """Views of a frame's planes; nothing is copied.

    Args:
        buffer: A slot's bytes; it may be longer than the frame.
        layout: What lies in it.

    Returns:
        One array a plane, in the format's order, (rows, columns, components), uint8 or little-endian uint16,
        writable if the buffer is.

    Raises:
        ProtocolError: The buffer is shorter than the frame.
    """
    if buffer.nbytes < layout.nbytes:
        raise ProtocolError(
            "a slot is smaller than its frame", expected=f">= {layout.nbytes} bytes", actual=str(buffer.nbytes)
        )
    return [_plane(buffer, layout, index) for index in range(len(layout.format.planes))]


def _plane(buffer: memoryview, layout: FrameLayout, index: int) -> Samples:
    shape = layout.plane_shape(index)
    dtype = "<u1" if layout.format.sample_bytes == 1 else "<u2"
    count = shape[0] * shape[1] * shape[2]
    samples: Samples = np.frombuffer(buffer, dtype, count, layout.plane_offset(index)).reshape(shape)
    return samples


def require_planes(planes: list[Samples], layout: FrameLayout) -> None:
    """Refuse planes that are not what the layout says.

    Raises:
        ProtocolError: A plane is missing, read-only, or has another shape or type.
    """
    wanted = [(layout.plane_shape(index), layout.format.sample_bytes) for index in range(len(layout.format.planes))]
    actual = [(plane.shape, plane.dtype.itemsize) for plane in planes]
    if wanted != actual or not all(plane.flags.writeable for plane in planes):
        raise ProtocolError("planes do not fit the frame's layout", expected=f"writable {wanted}", actual=f"{actual}")
