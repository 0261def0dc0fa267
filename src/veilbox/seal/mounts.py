"""The mounts that this process sees, from /proc/self/mountinfo."""

from __future__ import annotations

from veilbox.core.frozen import frozen

_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


@frozen
class Mounted:
    """One mount.

    Attributes:
        point: Where it is mounted, absolute.
        kind: The file system's type.
        options: Flags of the mount and of its super block, such as `ro`, `nosuid`, `noexec`.
        origin: Which file system, by its device number, and which folder of it is the mount's root: `0:41 /`.
    """

    point: str
    kind: str
    options: frozenset[str]
    origin: str = ""

    @property
    def read_only(self) -> bool:
        """Whether the mount or the whole file system refuses writers."""
        return "ro" in self.options


def parse(mountinfo: str) -> dict[str, Mounted]:
    """The topmost mount of every mount point.

    Raises:
        ValueError: A line is not as proc_pid_mountinfo(5) has it.

    Source: proc_pid_mountinfo(5); the octal escapes are those of the kernel's seq_path.
    """
    found: dict[str, Mounted] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        mine, theirs = before.split(" "), after.split(" ")
        if len(mine) < 6 or len(theirs) < 3:
            raise ValueError(f"mountinfo line of {len(mine)} + {len(theirs)} fields")
        point = _unescaped(mine[4])
        options = frozenset(mine[5].split(",")) | ({"ro"} if "ro" in theirs[2].split(",") else set())
        found[point] = Mounted(point=point, kind=theirs[0], options=options, origin=f"{mine[2]} {mine[3]}")
    return found


def _unescaped(text: str) -> str:
    for escape, ch in _ESCAPES.items():
        text = text.replace(escape, ch)
    return text


def mounts() -> dict[str, Mounted]:
    """The topmost mount of every mount point of this process.

    Raises:
        OSError: /proc is not there or not readable.
        ValueError: The kernel's format is not known.
    """
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
        return parse(file.read())
