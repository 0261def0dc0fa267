"""A part of a file, read with bounds."""

from __future__ import annotations

import os
from typing import BinaryIO

from veilbox.core.frozen import frozen
from veilbox.media.structure.flaws import Unreadable

# The most that is read at once of a part that must be small: tables and headers.
MOST_AT_ONCE = 64 << 20


@frozen(kw_only=False)
class Window:
    """Bytes [start, end) of a file.

    Attributes:
        path: What is called so in flaws.
    """

    file: BinaryIO
    start: int
    end: int
    path: str = ""

    @classmethod
    def whole(cls, file: BinaryIO) -> Window:
        """All of a file."""
        return cls(file, 0, file.seek(0, os.SEEK_END))

    def __len__(self) -> int:
        return self.end - self.start

    def read(self, at: int, count: int) -> bytes:
        """Exactly `count` bytes from `at`, counted from the window's start.

        Raises:
            Unreadable: They are not in the window.
        """
        if at < 0 or count < 0 or count > MOST_AT_ONCE or self.start + at + count > self.end:
            raise Unreadable(self.path, "cut short")
        self.file.seek(self.start + at)
        content = self.file.read(count)
        if len(content) != count:
            raise Unreadable(self.path, "cut short")
        return content

    def all(self) -> bytes:
        """Every byte.

        Raises:
            Unreadable: They are more than a table or header can be.
        """
        return self.read(0, len(self))

    def part(self, at: int, count: int, name: str) -> Window:
        """A window in this one.

        Raises:
            Unreadable: It reaches beyond the end.
        """
        path = f"{self.path}/{name}" if self.path else name
        if at < 0 or count < 0 or self.start + at + count > self.end:
            raise Unreadable(path, "reaches beyond its end")
        return Window(self.file, self.start + at, self.start + at + count, path)

    def is_zero(self) -> bool:
        """Whether every byte is zero."""
        return all(not any(self.read(at, min(65536, len(self) - at))) for at in range(0, len(self), 65536))
