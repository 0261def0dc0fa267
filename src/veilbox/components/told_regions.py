"""What is to be hidden in an item, kept until its output is looked at: some eighty bytes a frame instead of 250."""

from __future__ import annotations

from array import array

# Frames that are compressed together, some 40 kB of a film with five people: larger ones give no more, and who asks for
# one frame waits for all of them.
_TOGETHER = 256
# Boxes that move are noise to zlib beyond its first level.
_LEVEL = 1


class ToldRegions:
    """The regions of an item, one packed entry for each frame; an hour of film has 108,000."""

    def __init__(self) -> None:
        self._packed: list[tuple[bytes, array[int]]] = []
        self._last: list[bytes] = []
        self._unpacked: tuple[int, list[bytes]] = (-1, [])
        self.nbytes = 0

    def append(self, payload: bytes) -> None:
        """Take in the next frame's entry."""
        self._last.append(payload)
        self.nbytes += len(payload)
        if len(self._last) == _TOGETHER:
            import zlib  # noqa: PLC0415 - a photograph has one entry, and who starts is waited for

            self._packed.append((zlib.compress(b"".join(self._last), _LEVEL), array("I", map(len, self._last))))
            self._last = []

    def __len__(self) -> int:
        return len(self._packed) * _TOGETHER + len(self._last)

    def __getitem__(self, frame: int) -> bytes:
        """A frame's entry; quick where frames are asked for in order.

        Raises:
            IndexError: Nothing was told of that frame.
        """
        group, at = divmod(frame, _TOGETHER)
        if group == len(self._packed):
            return self._last[at]
        if group != self._unpacked[0]:
            self._unpacked = (group, self._parts(group))
        return self._unpacked[1][at]

    def _parts(self, group: int) -> list[bytes]:
        import zlib  # noqa: PLC0415 - see `append`

        packed, lengths = self._packed[group]
        content, parts, begin = zlib.decompress(packed), [], 0
        for length in lengths:
            parts.append(content[begin : begin + length])
            begin += length
        return parts
