"""The ring file: a reader maps only what was announced, and cannot write it."""

from __future__ import annotations

import errno
import mmap
import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from veilbox.core.errors import MachineError, ProtocolError
from veilbox.transport.messages import LocalProtocolError
from veilbox.transport.ring import HEADER_BYTES, Ring, file_bytes, stride

SLOTS, SLOT_BYTES = 3, 5_000
FILE = "ring-7"


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    made = Ring.create(tmp_path, 7, SLOTS, SLOT_BYTES)
    yield made
    made.close()


def reader(directory: Path) -> Ring:
    return Ring.open(directory, 7, SLOTS, SLOT_BYTES)


def test_what_is_written_is_read_in_place(ring: Ring, tmp_path: Path) -> None:
    other = reader(tmp_path)
    for index in range(SLOTS):
        ring.slot(index)[:] = bytes([index + 1]) * SLOT_BYTES
    for index in range(SLOTS):
        assert other.slot(index) == bytes([index + 1]) * SLOT_BYTES
    ring.slot(1)[-1:] = b"\xff"
    assert other.slot(1)[-1] == 0xFF


def test_slots_begin_on_pages_and_the_file_has_its_memory(ring: Ring, tmp_path: Path) -> None:
    status = (tmp_path / FILE).stat()
    assert stride(SLOT_BYTES) % mmap.PAGESIZE == 0
    assert status.st_size == file_bytes(SLOTS, SLOT_BYTES) == HEADER_BYTES + SLOTS * stride(SLOT_BYTES)
    assert status.st_blocks * 512 >= status.st_size, "reserved, not sparse"
    assert stat.S_IMODE(status.st_mode) == 0o644
    assert ring.slots == SLOTS


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Ring.create(tmp_path, 1, 1, 1).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "ring-1").stat().st_mode) == 0o644


def test_a_reader_cannot_write(ring: Ring, tmp_path: Path) -> None:
    other = reader(tmp_path)
    assert other.slot(0).readonly
    with pytest.raises(TypeError):
        other.slot(0)[0] = 1
    mappings = [
        line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(tmp_path / FILE))
    ]
    assert sorted(line.split()[1] for line in mappings) == ["r--s", "rw-s"]
    assert not ring.slot(0).readonly
    other.close()


def test_a_readers_descriptors_are_read_only_and_not_inherited(ring: Ring, tmp_path: Path) -> None:
    other = reader(tmp_path)
    ring.close()  # the producer's descriptors are gone; those that are left are the reader's
    descriptors = _descriptors_of(tmp_path / FILE)
    flags = [re.search(r"flags:\t(\d+)", Path(f"/proc/self/fdinfo/{fd}").read_text()) for fd in descriptors]
    assert [int(flag[1], 8) & os.O_ACCMODE for flag in flags if flag] == [os.O_RDONLY] * 2
    assert not any(os.get_inheritable(fd) for fd in descriptors)
    other.close()
    assert not _descriptors_of(tmp_path / FILE)


def _descriptors_of(path: Path) -> list[int]:
    status = path.stat()
    found = []
    for name in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            if os.path.samestat(name.stat(), status):
                found.append(int(name.name))
    return found


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_slots_out_of_range(ring: Ring) -> None:
    for index in (-1, SLOTS):
        with pytest.raises(ProtocolError, match=f"expected 0 to 2, got {index}"):
            ring.slot(index)


def _rewrite_header(path: Path, *fields: object) -> None:
    with path.open("r+b") as file:
        file.write(struct.pack("<8sIIIQ", *fields))


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, os.strerror(errno.ENOENT)),
    "empty": (lambda path: os.truncate(path, 0), "got 0"),
    "cut by a byte": (lambda path: os.truncate(path, file_bytes(SLOTS, SLOT_BYTES) - 1), "wrong size"),
    "longer by a byte": (lambda path: os.truncate(path, file_bytes(SLOTS, SLOT_BYTES) + 1), "wrong size"),
    "sparse and huge": (lambda path: os.truncate(path, 1 << 40), "wrong size"),
    "a link": (_link, os.strerror(errno.ELOOP)),
    "a FIFO": (_fifo, "no regular file"),
    "a directory": (_directory, "no regular file"),
    "no magic": (lambda path: _rewrite_header(path, b"notaring", 1, 7, SLOTS, SLOT_BYTES), "notaring"),
    "another version": (lambda path: _rewrite_header(path, b"veilring", 2, 7, SLOTS, SLOT_BYTES), "announced"),
    "another generation": (lambda path: _rewrite_header(path, b"veilring", 1, 8, SLOTS, SLOT_BYTES), "announced"),
    "other slots": (lambda path: _rewrite_header(path, b"veilring", 1, 7, 99, SLOT_BYTES), "99"),
    "other slot bytes": (lambda path: _rewrite_header(path, b"veilring", 1, 7, SLOTS, 1), "announced"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_reader_refuses_what_was_not_announced(name: str, ring: Ring, tmp_path: Path) -> None:
    spoil, told = SPOILT[name]
    spoil(tmp_path / FILE)
    before = _open_descriptors()
    with pytest.raises(ProtocolError) as caught:
        reader(tmp_path)
    assert told in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert _open_descriptors() == before, "no descriptor stays behind"
    ring.close()


def test_announced_sizes_are_compared_with_the_file(ring: Ring, tmp_path: Path) -> None:
    for slots, slot_bytes in ((SLOTS + 1, SLOT_BYTES), (SLOTS, SLOT_BYTES + 4096), (1024, 1 << 30)):
        with pytest.raises(ProtocolError, match="wrong size"):
            Ring.open(tmp_path, 7, slots, slot_bytes)
    ring.close()


def test_a_ring_cut_after_it_was_opened_is_found(ring: Ring, tmp_path: Path) -> None:
    other = reader(tmp_path)
    other.check()
    os.truncate(tmp_path / FILE, HEADER_BYTES)
    with pytest.raises(ProtocolError, match="wrong size"):
        other.check()
    other.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        other.check()
    ring.close()


def test_a_retired_ring_gives_its_memory_back_under_its_readers(ring: Ring, tmp_path: Path) -> None:
    other = reader(tmp_path)
    held = os.open(tmp_path / FILE, os.O_RDONLY)
    ring.retire()
    assert not (tmp_path / FILE).exists()
    assert os.fstat(held).st_blocks == 0
    os.close(held)
    other.close()


def test_closing_while_bytes_are_held_unmaps_later(ring: Ring, tmp_path: Path) -> None:
    ring.slot(0)[:1] = b"x"
    other = reader(tmp_path)
    held = other.slot(0)
    other.close()
    other.close()
    assert held[0] == ord("x")
    ring.close()


def test_an_existing_file_is_not_overwritten(ring: Ring, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="File exists"):
        Ring.create(tmp_path, 7, 1, 1)
    reader(tmp_path).close()
    ring.close()


def test_a_volume_without_room_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _offset: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(MachineError, match=r"No space left on device.*more memory"):
        Ring.create(tmp_path, 1, 2, 10_000)
    assert not list(tmp_path.iterdir())


def test_a_missing_volume_is_the_machines_fault(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="No such file"):
        Ring.create(tmp_path / "absent", 1, 1, 1)
