"""Who a container's users are outside: ranges of ids that no two containers share.

With the machine's whole id space at hand (root), each container gets 65,536 ids of its own. Inside a user namespace
(no root) there are rarely more than 65,536 in all, so a container gets two: its root and its user.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from veilbox.core.errors import MachineError

# The user and the group of every component inside its container; the number that distroless images made customary.
USER = 65532

# Above the ids that systemd-nspawn takes (524288..1879048191) and below 2^31-1, where signed tools break.
# Source: systemd, docs/UIDS-GIDS.md: 1879048192..2147483647 is "unused".
_FIRST_FREE, _END_FREE = 1879048192, 2147483647
_RANGE = 65536

# Small slices are counted up to here: far more than one machine has containers.
_MAX_SLICES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class IdLine:
    """One line of a user namespace's map: `size` ids from `container` inside are those from `host` outside."""

    container: int
    host: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class IdRange:
    """A container's map, the same for users and groups."""

    lines: tuple[IdLine, ...]

    def host_id(self, container_id: int) -> int:
        """The id outside of an id inside.

        Raises:
            MachineError: It has none.
        """
        for line in self.lines:
            if line.container <= container_id < line.container + line.size:
                return line.host + container_id - line.container
        raise MachineError("id is not mapped", actual=str(container_id))


def ranges(uid_map: str, gid_map: str) -> Iterator[IdRange]:
    """Every range that containers may get, always in the same order.

    Args:
        uid_map: Text of /proc/self/uid_map: lines of first id inside, first id outside, count.
        gid_map: Text of /proc/self/gid_map.

    Yields:
        Whole ranges from 1879048192 up, if both maps hold them; otherwise pairs of the ids from 1 up.
    """
    if all(_covers(text, _FIRST_FREE, _END_FREE) for text in (uid_map, gid_map)):
        for first in range(_FIRST_FREE, _END_FREE - _RANGE, _RANGE):
            yield IdRange(lines=(IdLine(container=0, host=first, size=_RANGE),))
        return
    usable = min(_contiguous_from_one(uid_map), _contiguous_from_one(gid_map))
    for index in range(min(usable // 2, _MAX_SLICES)):
        first = 1 + 2 * index
        yield IdRange(
            lines=(IdLine(container=0, host=first, size=1), IdLine(container=USER, host=first + 1, size=1)),
        )


def _spans(text: str) -> list[tuple[int, int]]:
    rows = (line.split() for line in text.splitlines())
    return sorted((int(row[0]), int(row[0]) + int(row[2])) for row in rows if len(row) == 3)


def _covers(text: str, first: int, end: int) -> bool:
    return any(low <= first and end <= high for low, high in _spans(text))


def _contiguous_from_one(text: str) -> int:
    end = 1
    for low, high in _spans(text):
        if low <= end < high:
            end = high
    return end - 1


class Allotment:
    """Ranges taken by this process, held by locks that the kernel drops when the process ends.

    Args:
        directory: Where the locks lie, one file a range; the same for all supervisors that share the ids.
        uid_map: Text as in /proc/self/uid_map; read there by default, so enter the namespaces first.
        gid_map: Likewise.
    """

    def __init__(self, directory: Path, *, uid_map: str | None = None, gid_map: str | None = None) -> None:
        self._directory = directory
        self._uid_map = Path("/proc/self/uid_map").read_text(encoding="ascii") if uid_map is None else uid_map
        self._gid_map = Path("/proc/self/gid_map").read_text(encoding="ascii") if gid_map is None else gid_map
        self._untried = enumerate(ranges(self._uid_map, self._gid_map))
        self._locks: list[int] = []

    def take(self) -> IdRange:
        """A range that no other live allotment holds.

        Raises:
            MachineError: All are taken, or the lock files cannot be made.
        """
        for index, candidate in self._untried:
            if self._lock(index):
                return candidate
        raise MachineError(
            "no host ids are left for another container",
            where="/proc/self/uid_map",
            advice="Wait for other jobs, or give this user more subordinate ids with usermod --add-subuids",
        )

    def _lock(self, index: int) -> bool:
        path = self._directory / str(index)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise MachineError("lock file cannot be opened", where=str(path), actual=error.strerror or "") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._locks.append(descriptor)
        return True

    def close(self) -> None:
        """Give every range back; only when nothing runs with its ids any more."""
        while self._locks:
            os.close(self._locks.pop())
        self._untried = enumerate(ranges(self._uid_map, self._gid_map))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
