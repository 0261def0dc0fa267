from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.errors import ImageError
from veilbox.oci.image.elf import check_interpreter, check_machine, interpreter, without_ballast

LOADED, DEBUG, NAMES = b"code that runs", b"where it came from", b"\0.text\0.debug\0.names\0"


def elf(machine: int = 62, loader: bytes = b"/lib/ld.so\0", *, kind: bytes = b"\x7fELF\x02\x01\x01") -> bytes:
    """Header, two segments (the loader's name, code), content, three sections after the empty one."""
    at = 64 + 2 * 56
    body = loader + LOADED + DEBUG + NAMES
    code, debug, names = at + len(loader), at + len(loader + LOADED), at + len(loader + LOADED + DEBUG)
    ident = kind.ljust(16, b"\0")
    head = struct.pack("<16sHHIQQQIHHHHHH", ident, 3, machine, 1, 0, 64, at + len(body), 0, 64, 56, 2, 64, 4, 3)
    segments = struct.pack("<IIQQQQQQ", 3, 4, at, 0, 0, len(loader), len(loader), 1)
    segments += struct.pack("<IIQQQQQQ", 1, 5, code, 0, 0, len(LOADED), len(LOADED), 1)
    sections = bytes(64)
    for flags, start, size in ((2, code, len(LOADED)), (0, debug, len(DEBUG)), (0, names, len(NAMES))):
        sections += struct.pack("<IIQQQQIIQQ", 1, 1, flags, 0, start, size, 0, 0, 1, 0)
    return head + segments + body + sections


def plant(root: Path, name: str, content: bytes) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)


def test_debug_information_becomes_zeros_and_nothing_else_changes() -> None:
    whole = elf()
    assert without_ballast(whole, "lib.so") == whole.replace(DEBUG, bytes(len(DEBUG)))


def test_a_real_program_keeps_what_is_loaded() -> None:
    whole = Path(sys.executable).resolve().read_bytes()
    blanked = without_ballast(whole, "python")
    assert len(blanked) == len(whole)
    assert interpreter(blanked, "python") == interpreter(whole, "python")
    assert interpreter(whole, "python").startswith("/lib")


def test_every_machine_is_told() -> None:
    assert interpreter(elf(), "python") == "/lib/ld.so"


def test_machines_are_checked(tmp_path: Path) -> None:
    plant(tmp_path, "usr/lib/a.so", elf(183))
    plant(tmp_path, "usr/lib/text", b"\x7fEL")
    (tmp_path / "usr/lib/link.so").symlink_to("nowhere")
    assert check_machine(tmp_path, "arm64") == 1
    with pytest.raises(ImageError, match=r"a\.so.*another machine"):
        check_machine(tmp_path, "amd64")
    plant(tmp_path, "usr/lib/a.so", elf(183, kind=b"\x7fELF\x01\x01\x01"))
    with pytest.raises(ImageError, match="another machine"):
        check_machine(tmp_path, "arm64")


@pytest.mark.parametrize(
    ("loader", "content"), [("lib/ld.so", b"text"), ("lib/other.so", elf()), ("lib/ld.so", elf(183))]
)
def test_a_program_needs_its_loader(tmp_path: Path, loader: str, content: bytes) -> None:
    plant(tmp_path, "bin/python", elf())
    plant(tmp_path, loader, content)
    with pytest.raises(ImageError):
        check_interpreter(tmp_path, "bin/python")
    plant(tmp_path, "lib/ld.so", elf())
    check_interpreter(tmp_path, "bin/python")


@given(place=st.integers(0, len(elf()) - 1), value=st.integers(0, 255))
def test_damage_is_an_error_of_ours_or_harmless(place: int, value: int) -> None:
    damaged = bytearray(elf())
    damaged[place] = value
    try:
        assert len(without_ballast(bytes(damaged), "lib.so")) == len(damaged)
        interpreter(bytes(damaged), "lib.so")
    except ImageError:
        pass
