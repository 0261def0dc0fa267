"""Redaction of a JPEG picture that passes as coefficients: blocks with something hidden are coded anew, others stay.

A block that a cover touches becomes samples, is redacted with the others, and becomes coefficients again, so that
nothing of what was below the cover is in them. A block that reaches over the edge of the picture is coded anew too,
its last samples repeated: what it held beyond the edge no detector has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from veilbox.core.coefficients import BLOCK, SIDE, Coefficients
from veilbox.core.frame import FrameLayout
from veilbox.vision.redact.area import Window
from veilbox.vision.redact.planes import Samples

# For each plane, windows that may change, or which samples of them do.
Touched = Sequence[tuple[Window, NDArray[np.bool_] | None]]
_Blocks = NDArray[np.int16]
_LEVEL = 128  # T.81, A.3.1: what 8-bit samples are shifted by
# Blocks at once: what they need beside the picture stays within some megabytes.
_PORTION = 8_192


def coefficient_planes(buffer: memoryview, layout: FrameLayout, kind: Coefficients) -> list[_Blocks]:
    """Views of a picture's blocks; nothing is copied.

    Args:
        buffer: At least `kind.nbytes(layout)` long.
        layout: Of the samples.
        kind: What the coefficients mean.

    Returns:
        For each plane (rows, columns, 64) int16, writable if the buffer is.
    """
    planes, start = [], 0
    for rows, columns in kind.shapes(layout):
        count = rows * columns * BLOCK
        planes.append(np.frombuffer(buffer, "<i2", count, start).reshape(rows, columns, BLOCK))
        start += count * 2
    return planes


def redact_blocks(
    planes: Sequence[_Blocks],
    layout: FrameLayout,
    kind: Coefficients,
    touched: Sequence[Touched],
    hide: Callable[[list[Samples]], None],
) -> int:
    """Hide what is to be hidden, in place.

    Args:
        planes: As from `coefficient_planes`, writable.
        layout: Of the samples.
        kind: What the coefficients mean.
        touched: For each plane, what `hide` may change.
        hide: Redacts planes of samples, of which only the touched ones are those of the picture.

    Returns:
        Blocks that were coded anew.
    """
    sheets = [_Sheet(plane, layout.plane_shape(index)) for index, plane in enumerate(planes)]
    for sheet, parts, table in zip(sheets, touched, kind.tables, strict=True):
        sheet.choose(parts)
        sheet.unfold(np.array(table, np.float32))
    hide([sheet.samples for sheet in sheets])
    for sheet, table in zip(sheets, kind.tables, strict=True):
        sheet.fold(np.array(table, np.float32))
    return sum(len(sheet.rows) for sheet in sheets)


class _Sheet:
    """One plane's blocks and the samples of those that are coded anew."""

    def __init__(self, blocks: _Blocks, shape: tuple[int, int, int]) -> None:
        self._blocks = blocks
        self._height, self._width, _ = shape
        high, wide = blocks.shape[:2]
        # Memory that nobody touches is none: only chosen blocks are ever written.
        self._padded = np.zeros((high * SIDE, wide * SIDE), np.uint8)
        self._tiles = self._padded.reshape(high, SIDE, wide, SIDE)
        self.rows: NDArray[np.intp] = np.zeros(0, np.intp)
        self.columns: NDArray[np.intp] = np.zeros(0, np.intp)

    @property
    def samples(self) -> Samples:
        """The plane inside the picture's edges: (rows, columns, 1)."""
        return self._padded[: self._height, : self._width, None]

    def choose(self, parts: Touched) -> None:
        """Mark the blocks of which a sample may change, and those over the edge."""
        chosen = np.zeros(self._blocks.shape[:2], np.bool_)
        for window, mask in parts:
            (left, right), (top, bottom) = window.columns, window.rows
            if mask is not None:
                rows, columns = np.nonzero(mask)
                chosen[(rows + top) // SIDE, (columns + left) // SIDE] = True
            elif right > left and bottom > top:
                chosen[top // SIDE : -(-bottom // SIDE), left // SIDE : -(-right // SIDE)] = True
        chosen[:, -1] |= self._width % SIDE != 0
        chosen[-1] |= self._height % SIDE != 0
        self.rows, self.columns = np.nonzero(chosen)

    def unfold(self, table: NDArray[np.float32]) -> None:
        """Make samples of the chosen blocks."""
        for rows, columns in self._portions():
            values = (self._blocks[rows, columns] * table) @ _INVERSE + np.float32(_LEVEL)
            samples = np.clip(np.rint(values), 0, 255).astype(np.uint8)
            self._tiles[rows, :, columns, :] = samples.reshape(-1, SIDE, SIDE)

    def fold(self, table: NDArray[np.float32]) -> None:
        """Make coefficients of them again."""
        self._padded[:, self._width :] = self._padded[:, self._width - 1 : self._width]
        self._padded[self._height :] = self._padded[self._height - 1 : self._height]
        for rows, columns in self._portions():
            samples = self._tiles[rows, :, columns, :].reshape(-1, BLOCK).astype(np.float32) - _LEVEL
            self._blocks[rows, columns] = np.rint(samples @ _FORWARD / table).astype(np.int16)

    def _portions(self) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        starts = range(0, len(self.rows), _PORTION)
        return [(self.rows[at : at + _PORTION], self.columns[at : at + _PORTION]) for at in starts]


def _transform() -> NDArray[np.float32]:
    """(64, 64): row by row, a block's samples times it are its coefficients (T.81, A.3.3)."""
    frequency, place = np.mgrid[0:SIDE, 0:SIDE]
    basis = np.cos((2 * place + 1) * frequency * np.pi / (2 * SIDE)) / 2
    basis[0] /= np.sqrt(2)
    forward: NDArray[np.float32] = np.kron(basis, basis).T.astype(np.float32)
    return forward


_FORWARD = _transform()
_INVERSE = np.ascontiguousarray(_FORWARD.T)
