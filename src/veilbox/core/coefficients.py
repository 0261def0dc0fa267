"""JPEG coefficients as the ring holds them: quantised, in blocks, one plane after the other."""

from __future__ import annotations

from collections.abc import Iterator

from veilbox.core.errors import SourceUnsupported
from veilbox.core.frame import FrameLayout
from veilbox.core.frozen import frozen

SIDE = 8  # of a block (ITU-T T.81, A.1.3.1)
BLOCK = SIDE * SIDE
_BYTES = 2  # of a coefficient
# Samples that coefficients of a JPEG picture can stand for, full range.
_FORMATS = frozenset({"gray", "yuv420p", "yuv422p", "yuv444p"})
_MOST_STEP = 65_535  # T.81, B.2.4.1


@frozen
class Coefficients:
    """What a ring's coefficients mean.

    Attributes:
        pixel_format: The samples that they are the transform of.
        tables: For each plane the 64 quantisation steps, row by row, vertical frequency first.
        progressive: Whether the source was coded progressively, so that the output is too.

    Raises:
        SourceUnsupported: The format has no such planes, or a table is none.
    """

    pixel_format: str
    tables: tuple[tuple[int, ...], ...]
    progressive: bool = False

    def __post_init__(self) -> None:
        planes = 1 if self.pixel_format == "gray" else 3
        sound = all(len(table) == BLOCK and 1 <= min(table) <= max(table) <= _MOST_STEP for table in self.tables)
        if self.pixel_format not in _FORMATS or len(self.tables) != planes or not sound:
            raise SourceUnsupported("coefficients not handled", actual=f"{len(self.tables)} of {self.pixel_format}")

    def shapes(self, layout: FrameLayout) -> Iterator[tuple[int, int]]:
        """(rows, columns) of blocks of each plane; the last of them may reach over the picture's edge."""
        for index in range(len(layout.format.planes)):
            rows, columns, _ = layout.plane_shape(index)
            yield -(-rows // SIDE), -(-columns // SIDE)

    def nbytes(self, layout: FrameLayout) -> int:
        """Bytes of a whole picture."""
        return sum(rows * columns * BLOCK * _BYTES for rows, columns in self.shapes(layout))
