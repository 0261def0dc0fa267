"""A strict reader of tar archives from strangers.

Readers of tar disagree about damaged and exotic archives, and every disagreement has hidden files from a scanner. So
this one reads the plain middle (POSIX ustar with pax paths, GNU long names) and refuses the rest. Nothing is read into
memory before its size is known to be small. Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended
Header"; the GNU tar manual, "Basic Tar Format"; the desynchronised readers of CVE-2025-62518.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from veilbox.core.errors import ImageError

_BLOCK = 512
_CHUNK = 1 << 20
_ZERO_BLOCK = bytes(_BLOCK)
_MAGICS = (b"ustar\x0000", b"ustar  \x00")  # POSIX and GNU; only POSIX has a prefix for long names
_PAX_BYTES = 64 << 10  # a path and a link's target have at most 4 KiB each; what else is there we do not need

_PAX, _GNU_NAME, _GNU_LINK = b"x", b"L", b"K"
_HEADERS = frozenset({_PAX, _GNU_NAME, _GNU_LINK})

# pax records that would change what other readers make of an entry, or that no image of ours has.
_REFUSED_RECORDS = ("size", "hdrcharset", "GNU.", "SCHILY.xattr.", "SCHILY.acl.", "LIBARCHIVE.xattr.", "RHT.")


class Kind(Enum):
    """What an entry is."""

    FILE = "file"
    HARD_LINK = "hard link"
    SYMLINK = "symbolic link"
    FOLDER = "folder"
    SPECIAL = "device or pipe"


_KINDS: Mapping[bytes, Kind] = MappingProxyType(
    {
        b"0": Kind.FILE,
        b"\0": Kind.FILE,
        b"1": Kind.HARD_LINK,
        b"2": Kind.SYMLINK,
        b"3": Kind.SPECIAL,
        b"4": Kind.SPECIAL,
        b"5": Kind.FOLDER,
        b"6": Kind.SPECIAL,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One entry; owner and times are not read.

    Attributes:
        name: Its path as the archive has it.
        kind: What it is.
        size: Bytes of content; 0 unless it is a file.
        mode: Permission bits, set-user-id and its like included.
        link: The target of a link.
    """

    name: str
    kind: Kind
    size: int
    mode: int
    link: str


class TarReader:
    """Reads a tar once, from its beginning.

    Args:
        read: Gives exactly so many bytes, fewer only at the end.
        path_bytes: Bytes that a path may at most have.
    """

    def __init__(self, read: Callable[[int], bytes], *, path_bytes: int = 4096) -> None:
        self._read = read
        self._path_bytes = path_bytes
        self._left = 0  # of the present entry's content
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        """The entries in their order.

        Raises:
            ImageError: The archive is damaged, or of a kind that readers disagree about.
        """
        extra: dict[str, str] = {}
        while (block := self._header()) is not None:
            kind, size = block[156:157], _number(block[124:136])
            if kind in _HEADERS:
                self._merge(extra, kind, size)
                continue
            entry = _entry(block, kind, size, extra)
            extra = {}
            self._left, self._padding = entry.size, -entry.size % _BLOCK
            yield entry
            for _ in self.content():
                pass  # what the caller did not want
        if extra:
            raise _damaged("an extended header without its entry")

    def content(self) -> Iterator[bytes]:
        """The present entry's content, in pieces of at most 1 MiB.

        Raises:
            ImageError: The archive ends within it.
        """
        while self._left:
            chunk = self._exactly(min(self._left, _CHUNK))
            self._left -= len(chunk)
            yield chunk
        padding, self._padding = self._padding, 0
        self._exactly(padding)

    def _header(self) -> bytes | None:
        block = self._exactly(_BLOCK)
        if block == _ZERO_BLOCK:
            while chunk := self._read(_CHUNK):
                if chunk.count(0) != len(chunk):
                    raise _damaged("something after the end mark")
            return None
        if block[257:265] not in _MAGICS:
            raise _damaged("an entry that is not ustar's")
        if _number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
            raise _damaged("a header with a wrong checksum")
        return block

    def _merge(self, extra: dict[str, str], kind: bytes, size: int) -> None:
        """Add what an extended header says of the next entry."""
        limit = _PAX_BYTES if kind == _PAX else self._path_bytes + 1
        if not 0 < size <= limit:
            raise _damaged(f"an extended header of {size} bytes, not of 1 to {limit}")
        raw = self._exactly(size)
        self._exactly(-size % _BLOCK)
        records = _records(raw) if kind == _PAX else {"path" if kind == _GNU_NAME else "linkpath": _text(raw)}
        if extra.keys() & records.keys():
            raise _damaged("two names for one entry")
        extra |= records

    def _exactly(self, wanted: int) -> bytes:
        chunk = self._read(wanted) if wanted else b""
        if len(chunk) != wanted:
            raise _damaged("an early end")
        return chunk


def _entry(block: bytes, kind: bytes, size: int, extra: Mapping[str, str]) -> Entry:
    if kind not in _KINDS:
        raise ImageError("layer holds an entry of an unknown type", actual=repr(kind))
    entry = Entry(
        name=extra.get("path") or _name(block),
        kind=_KINDS[kind],
        size=size,
        mode=_number(block[100:108]) & 0o7777,
        link=extra.get("linkpath") or _text(block[157:257]),
    )
    # Some readers skip such content and others do not; old ones take a file whose name ends so for a folder.
    if (size and entry.kind is not Kind.FILE) or (entry.kind is Kind.FILE and entry.name.endswith("/")):
        raise _damaged(f"a {entry.kind.value} that could be read in two ways")
    return entry


def _name(block: bytes) -> str:
    prefix = _text(block[345:500]) if block[257:265] == _MAGICS[0] else ""
    name = _text(block[:100])
    return f"{prefix}/{name}" if prefix else name


def _records(raw: bytes) -> dict[str, str]:
    """The records of a pax header: each is `LENGTH KEY=VALUE` and a line feed, the length counting itself."""
    records: dict[str, str] = {}
    while raw:
        digits, blank, _ = raw[:8].partition(b" ")
        length = int(digits) if blank and digits.isdigit() else 0
        key, equals, value = raw[len(digits) + 1 : length].partition(b"=")
        if not equals or not value.endswith(b"\n") or length > len(raw):
            raise _damaged("a broken pax header")
        name = _text(key)
        if name in records:
            raise _damaged("a pax header that says something twice")
        if name.startswith(_REFUSED_RECORDS):
            raise ImageError("layer holds extended attributes or odd sizes", actual=name)
        records[name] = _text(value[:-1]) if name in {"path", "linkpath"} else ""
        raw = raw[length:]
    return records


def _number(field: bytes) -> int:
    """An octal number; an empty field is 0. Base-256 numbers (beyond 8 GiB) are refused with the rest."""
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if any(digit not in b"01234567" for digit in digits):
        raise _damaged("a number that is not octal")
    return int(digits, 8)


def _text(field: bytes) -> str:
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise _damaged("a name that goes on after its end")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged("a name that is not UTF-8") from error


def _damaged(found: str) -> ImageError:
    return ImageError("layer is not a sound tar", actual=found)
