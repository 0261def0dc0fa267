"""What is in a program or library, without running it: for which processor it is, what starts it, what is ballast.

Source: System V ABI, chapters 4 and 5 (ELF-64); processor numbers from its registry (EM_X86_64 62, EM_AARCH64 183).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from veilbox.core.errors import ImageError

MAGIC = b"\x7fELF"

_MACHINES: Mapping[str, int] = MappingProxyType({"amd64": 62, "arm64": 183})
_CLASS_64_LITTLE = b"\x02\x01"
_HEADER_BYTES = 64
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_INTERPRETER = 3  # PT_INTERP
_ABSENT = frozenset({0, 8})  # SHT_NULL, SHT_NOBITS: sections without bytes in the file
_LOADED = 2  # SHF_ALLOC


class _Header(NamedTuple):
    ident: bytes
    kind: int
    machine: int
    version: int
    entry: int
    segments_at: int
    sections_at: int
    flags: int
    header_bytes: int
    segment_bytes: int
    segments: int
    section_bytes: int
    sections: int
    names: int


def check_machine(root: Path, architecture: str) -> int:
    """Refuse a folder with a program or library for another processor.

    Args:
        root: What stands at `/`, or part of it.
        architecture: In Debian's words.

    Returns:
        How many programs and libraries there are.

    Raises:
        ImageError: One is for another machine, or damaged.
    """
    count = 0
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            start = file.read(_HEADER_BYTES)
        if start.startswith(MAGIC):
            _require_machine(start, architecture, path.relative_to(root).as_posix())
            count += 1
    return count


def _require_machine(start: bytes, architecture: str, name: str) -> None:
    header = _header(start, name)
    if header.ident[4:6] != _CLASS_64_LITTLE or header.machine != _MACHINES[architecture]:
        raise ImageError(
            "program or library for another machine",
            where=name,
            expected=f"{architecture}: 64-bit, little-endian, machine {_MACHINES[architecture]}",
            actual=f"machine {header.machine}",
        )


def interpreter(content: bytes, name: str) -> str:
    """The loader that a program asks the kernel for, an absolute path; empty for libraries and static programs.

    Raises:
        ImageError: The bytes are no sound 64-bit ELF file.
    """
    for kind, _, start, _, _, size, _, _ in _table(content, _header(content, name), name, segments=True):
        if kind == _INTERPRETER:
            return content[start : start + size].rstrip(b"\0").decode("utf-8", "replace")
    return ""


def check_interpreter(root: Path, program: str) -> None:
    """Refuse a program whose loader is not there.

    Args:
        root: What stands at `/`.
        program: The program's path below it.

    Raises:
        ImageError: There is no loader, or none for the same processor.
    """
    content = (root / program).read_bytes()
    wanted = interpreter(content, program)
    # Links of images are relative and stay inside, so the way through them is the same below any root.
    loader = root / wanted.lstrip("/")
    if not wanted or not loader.is_file() or not loader.resolve().is_relative_to(root.resolve()):
        raise ImageError("program's loader is not in the image", where=program, expected=wanted or "a loader")
    machines = {_header(each, name).machine for each, name in ((content, program), (loader.read_bytes(), wanted))}
    if len(machines) != 1:
        raise ImageError("program and loader are for two machines", where=program, actual=str(sorted(machines)))


def without_ballast(content: bytes, name: str) -> bytes:
    """A program or library with zeros where it holds what nothing ever loads: debug information and symbol tables.

    Sections that neither have a place in memory nor lie in a segment are for debuggers and linkers. Blanked, not cut:
    no offset changes, so nothing else must be rewritten, and zeros compress to nothing.

    Args:
        content: The file.
        name: For messages.

    Raises:
        ImageError: The bytes are no sound 64-bit ELF file.
    """
    header = _header(content, name)
    kept = [(at, at + size) for _, _, at, _, _, size, _, _ in _table(content, header, name, segments=True)]
    blanked = bytearray(content)
    for number, section in enumerate(_table(content, header, name, segments=False)):
        _, kind, flags, _, start, size, *_ = section
        loaded = flags & _LOADED or any(a < start + size and start < b for a, b in kept)
        if kind in _ABSENT or loaded or number == header.names:
            continue
        if start + size > len(content):
            raise ImageError("library's section ends after the file", where=name)
        blanked[start : start + size] = bytes(size)
    return bytes(blanked)


def _header(content: bytes, name: str) -> _Header:
    if len(content) < _HEADER_BYTES or not content.startswith(MAGIC):
        raise ImageError("not a program or library", where=name)
    return _Header(*_HEADER.unpack_from(content))


def _table(content: bytes, header: _Header, name: str, *, segments: bool) -> Iterator[tuple[int, ...]]:
    entry = _SEGMENT if segments else _SECTION
    at, size, count = (
        (header.segments_at, header.segment_bytes, header.segments)
        if segments
        else (header.sections_at, header.section_bytes, header.sections)
    )
    if count and (size < entry.size or at + size * count > len(content)):
        raise ImageError("program or library with a damaged table", where=name)
    for number in range(count):
        yield entry.unpack_from(content, at + number * size)
