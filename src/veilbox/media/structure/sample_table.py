"""Where a track's samples lie (ISO/IEC 14496-12, clauses 8.7.2 to 8.7.5)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from veilbox.media.structure.flaws import Unreadable
from veilbox.media.structure.window import Window

_NONE = np.zeros(0, np.int64)


class SampleTable:
    """A track's tables, as far as they say where bytes are."""

    def __init__(self) -> None:
        self._sizes: NDArray[np.int64] = _NONE
        self._size = 0
        self._count = 0
        self._offsets: NDArray[np.int64] = _NONE
        self._runs: NDArray[np.int64] = _NONE.reshape(0, 3)
        self._path = "stbl"

    def take(self, kind: bytes, body: Window) -> None:
        """Read one of the tables; others say nothing about bytes, and their length is bounded.

        Raises:
            Unreadable: Its length is not what it says.
        """
        if kind == b"stsz":
            self._size, self._count = int.from_bytes(body.read(4, 4), "big"), int.from_bytes(body.read(8, 4), "big")
            self._sizes = _NONE if self._size else _numbers(body, 12, self._count, ">u4")
        elif kind == b"stco":
            self._offsets = _numbers(body, 8, int.from_bytes(body.read(4, 4), "big"), ">u4")
        elif kind == b"co64":
            self._offsets = _numbers(body, 8, int.from_bytes(body.read(4, 4), "big"), ">u8")
        elif kind == b"stsc":
            self._runs = _numbers(body, 8, 3 * int.from_bytes(body.read(4, 4), "big"), ">u4").reshape(-1, 3)
        else:
            self._check_length(kind, body)

    @staticmethod
    def _check_length(kind: bytes, body: Window) -> None:
        """Tables of numbers end where their count says."""
        sizes = {b"stts": 8, b"ctts": 8, b"stss": 4}
        if kind in sizes:
            expected = 8 + sizes[kind] * int.from_bytes(body.read(4, 4), "big")
            if len(body) != expected:
                raise Unreadable(body.path, "trailing bytes")
        elif kind in (b"sgpd", b"sbgp", b"cslg") and len(body) > 1 << 16:
            raise Unreadable(body.path, "impossible length")

    def _per_chunk(self) -> NDArray[np.int64]:
        """Samples of each chunk."""
        count = len(self._offsets)
        if count == 0:
            return _NONE
        firsts = self._runs[:, 0] - 1
        if not len(firsts) or firsts[0] != 0 or (np.diff(firsts) <= 0).any() or firsts[-1] >= count:
            raise Unreadable(self._path, "chunks out of order")
        return np.repeat(self._runs[:, 1], np.diff(np.append(firsts, count)))

    def chunks(self, file_bytes: int) -> list[tuple[int, int]]:
        """First byte and first byte behind of every chunk.

        Raises:
            Unreadable: The tables disagree, or lie outside the file.
        """
        per_chunk = self._per_chunk()
        if int(per_chunk.sum()) != self._count:
            raise Unreadable(self._path, "tables disagree")
        if self._size:
            lengths = per_chunk * self._size
        else:
            ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(self._sizes)))
            borders = np.concatenate((np.zeros(1, np.int64), np.cumsum(per_chunk)))
            lengths = np.diff(ends[borders])
        stops = self._offsets + lengths
        if len(stops) and (int(stops.max()) > file_bytes or (lengths < 0).any() or (self._offsets < 0).any()):
            raise Unreadable(self._path, "samples outside the file")
        return list(zip(self._offsets.tolist(), stops.tolist(), strict=True))

    def samples(self, file_bytes: int) -> Iterator[tuple[int, int]]:
        """Place and size of every sample, in order; call `chunks` first.

        Raises:
            Unreadable: There are more than the file can hold.
        """
        if self._count > file_bytes:
            raise Unreadable(self._path, "more samples than bytes")
        number = 0
        for offset, count in zip(self._offsets.tolist(), self._per_chunk().tolist(), strict=True):
            at = offset
            for index in range(number, number + count):
                size = self._size or int(self._sizes[index])
                yield at, size
                at += size
            number += count


def _numbers(body: Window, at: int, count: int, dtype: str) -> NDArray[np.int64]:
    width = int(dtype[2:])
    if at + count * width != len(body):
        raise Unreadable(body.path, "trailing bytes" if at + count * width < len(body) else "cut short")
    values = np.frombuffer(body.read(at, count * width), dtype)
    if width == 8 and count and int(values.max()) >= 1 << 62:
        raise Unreadable(body.path, "impossible number")
    return values.astype(np.int64)
