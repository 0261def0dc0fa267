"""A JPEG picture turned upright in its coefficients, without loss.

Source: the identities of the cosine transform that jpegtran uses: mirroring a block negates its odd frequencies,
transposing it transposes them. A picture whose last block on a side is not full cannot be mirrored along that side.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from veilbox.core.coefficients import SIDE
from veilbox.core.frame import PIXEL_FORMATS
from veilbox.media.libjpeg import CodedPicture

# Exif 2.32, "Orientation": whether rows and columns change places, then whether columns and rows are mirrored.
_STEPS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def upright(picture: CodedPicture, orientation: int) -> CodedPicture | None:
    """The picture as a viewer shows it.

    Args:
        picture: As it is stored.
        orientation: By Exif.

    Returns:
        None where that would lose something, or gives a sampling that no ring format has.
    """
    transposed, columns, rows = _STEPS[orientation]
    if transposed:
        if picture.kind.pixel_format == "yuv422p":
            return None
        picture = _transposed(picture)
    if (columns and not _full(picture, picture.width, 1)) or (rows and not _full(picture, picture.height, 0)):
        return None
    planes = tuple(_mirrored(plane, columns=columns, rows=rows) for plane in picture.planes)
    return dataclasses.replace(picture, planes=planes)


def _transposed(picture: CodedPicture) -> CodedPicture:
    tables = tuple(tuple(np.array(table).reshape(SIDE, SIDE).T.ravel().tolist()) for table in picture.kind.tables)
    return CodedPicture(
        width=picture.height,
        height=picture.width,
        kind=dataclasses.replace(picture.kind, tables=tables),
        planes=tuple(plane.transpose(1, 0, 3, 2) for plane in picture.planes),
    )


def _full(picture: CodedPicture, length: int, axis: int) -> bool:
    """Whether blocks of every plane end with the picture."""
    planes = PIXEL_FORMATS[picture.kind.pixel_format].planes
    return not any(length % (SIDE << (plane.x_shift if axis else plane.y_shift)) for plane in planes)


def _mirrored(plane: NDArray[np.int16], *, columns: bool, rows: bool) -> NDArray[np.int16]:
    odd = np.where(np.arange(SIDE) % 2, -1, 1).astype(np.int16)
    if columns:
        plane = plane[:, ::-1] * odd
    if rows:
        plane = plane[::-1] * odd[:, None]
    return np.ascontiguousarray(plane)
