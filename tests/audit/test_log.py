"""Appending, and what is left by a kill or a loss of power at every byte and between any two calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from log_workshop import KEY, NAMES, PUBLIC, Disk, Killed, line, log_on, open_files, write_log

from veilbox.audit.checkpoint import Head, signed
from veilbox.audit.log import MAX_BATCH_BYTES, MAX_ENTRY_BYTES, Log
from veilbox.audit.merkle import leaf_hash
from veilbox.audit.signing import SigningKey
from veilbox.audit_verifier.folder import verify_folder
from veilbox.audit_verifier.note import open_note
from veilbox.audit_verifier.tree import inclusion_holds
from veilbox.core.errors import LogError, OutputError

THREE = [line(number) for number in range(3)]
NEXT = [line(number) for number in range(3, 6)]


def three() -> dict[str, bytes]:
    """Files with three entries, appended one by one."""
    disk = Disk()
    log = log_on(disk)
    for one in THREE:
        log.append([one])
    return disk.now()


BEFORE = three()


def after() -> dict[str, bytes]:
    disk = Disk(BEFORE)
    log_on(disk).append(NEXT)
    return disk.now()


AFTER = after()
APPENDED = sum(len(AFTER[name]) - len(BEFORE[name]) for name in NAMES)


def check(disk: Disk, *, entries: int) -> None:
    """The files hold so many entries, verify, and can be appended to."""
    log = log_on(disk)
    assert log.size == entries
    assert disk.now() == (BEFORE if entries == 3 else AFTER)
    log.append([b"and on"])
    assert log_on(disk).size == entries + 1


def test_an_entry_is_acknowledged_with_its_checkpoint() -> None:
    disk = Disk(BEFORE)
    log = log_on(disk)
    done = log.append(NEXT)
    assert done.first == 3
    assert done.leaves == tuple(leaf_hash(one) for one in NEXT)
    head = open_note(done.note, PUBLIC, "note")
    assert head.size == log.size == 6
    for index in range(6):
        assert inclusion_holds(index, 6, leaf_hash([*THREE, *NEXT][index]), log.proof(index), head.root)


def test_everything_is_on_stable_storage_before_it_is_acknowledged() -> None:
    disk = Disk(BEFORE)
    log_on(disk).append(NEXT)
    assert disk.synced == AFTER


def test_a_kill_at_every_byte() -> None:
    for left in range(APPENDED):
        disk = Disk(BEFORE, bytes_left=left)
        with pytest.raises(Killed):
            log_on(disk).append(NEXT)
        check(Disk(disk.now()), entries=3)
    disk = Disk(BEFORE, bytes_left=APPENDED)
    log_on(disk).append(NEXT)
    check(Disk(disk.now()), entries=6)


def test_a_kill_between_any_two_calls_also_of_the_recovery() -> None:
    for calls in range(6):
        disk = Disk(BEFORE, calls_left=calls)
        with pytest.raises(Killed):
            log_on(disk).append(NEXT)
        left = disk.now()
        for recovery_calls in range(6):
            again = Disk(left, calls_left=recovery_calls)
            try:
                log_on(again)
            except Killed:
                pass
            else:
                again.calls_left = None
            check(Disk(again.now()), entries=6 if left == AFTER else 3)


def test_a_kill_while_the_first_entry_is_written() -> None:
    first = Disk()
    log_on(first).append(NEXT)
    for left in range(sum(map(len, first.now().values()))):
        disk = Disk(bytes_left=left)
        with pytest.raises(Killed):
            log_on(disk).append(NEXT)
        again = Disk(disk.now())
        assert log_on(again).size == 0
        assert again.now() == dict.fromkeys(NAMES, b"")


def losses() -> Iterator[dict[str, bytes]]:
    """Files after a loss of power: what was synced, and of what was not a beginning, perhaps with zeros after it."""
    for step, name in enumerate(NAMES):
        files = {one: AFTER[one] if number < step else BEFORE[one] for number, one in enumerate(NAMES)}
        written = AFTER[name][len(BEFORE[name]) :]
        for kept in range(0, len(written), 7):
            for length in {kept, (kept + len(written)) // 2, len(written)}:
                yield files | {name: BEFORE[name] + written[:kept].ljust(length, b"\0")}


def test_a_loss_of_power() -> None:
    for files in losses():
        check(Disk(files), entries=3)


def test_a_full_disk_leaves_the_log_as_it_was_and_the_next_append_goes_on() -> None:
    for left in range(APPENDED):
        disk = Disk(BEFORE, bytes_left=left, error=OSError)
        log = log_on(disk)
        with pytest.raises(OutputError, match="No space left"):
            log.append(NEXT)
        assert disk.now() == BEFORE
        disk.bytes_left = None
        log.append(NEXT)
        assert disk.now() == AFTER


def test_a_disk_that_cannot_even_be_cut_is_cleared_by_the_next_append() -> None:
    for calls in range(6):
        disk = Disk(BEFORE, calls_left=calls, error=OSError)
        log = log_on(disk)
        with pytest.raises(OutputError):
            log.append(NEXT)
        disk.calls_left = None
        log.append(NEXT)
        assert log_on(disk).size == (9 if disk.now() != AFTER else 6)


def test_any_other_end_is_refused() -> None:
    """What an interrupted append cannot leave: acknowledged bytes missing or changed."""
    for name in NAMES:
        for missing in range(1, len(AFTER[name]) - len(BEFORE[name])):
            if name != "checkpoints":  # a cut checkpoint with nothing else cut is a torn append: see the page
                with pytest.raises(LogError):
                    log_on(Disk(AFTER | {name: AFTER[name][:-missing]}))
    note = len(AFTER["checkpoints"]) - len(BEFORE["checkpoints"])
    for bit in range(note * 8):
        changed = bytearray(AFTER["checkpoints"])
        changed[-1 - bit // 8] ^= 1 << bit % 8
        with pytest.raises(LogError):
            log_on(Disk(AFTER | {"checkpoints": bytes(changed)}))


def test_a_changed_tree_or_last_entry_is_refused() -> None:
    for name, at in (("tree", -40), ("entries", -5), ("entries", -1)):
        changed = bytearray(AFTER[name])
        changed[at] ^= 1
        with pytest.raises(LogError):
            log_on(Disk(AFTER | {name: bytes(changed)}))


def test_much_after_the_last_checkpoint_is_refused() -> None:
    with pytest.raises(LogError, match="more than one append"):
        log_on(Disk(BEFORE | {"entries": BEFORE["entries"] + b"x" * (MAX_BATCH_BYTES + 1)}))


def test_a_log_of_another_key_is_refused() -> None:
    other = SigningKey("veilbox/audit/test", bytes(32))
    with pytest.raises(LogError, match="not signed by the log's key"):
        Log(Disk(BEFORE).files(), other)


def test_a_note_that_signs_another_tree_is_refused() -> None:
    head = signed(Head(origin=KEY.name, size=3, root=bytes(32)), KEY)
    with pytest.raises(LogError, match="not the one that was signed"):
        log_on(Disk(BEFORE | {"checkpoints": head}))


@pytest.mark.parametrize("lines", [[], [b""], [b"a\nb"], [b"x" * (MAX_ENTRY_BYTES + 1)], [b"x" * MAX_ENTRY_BYTES] * 17])
def test_what_is_no_batch_of_lines_is_refused(lines: list[bytes]) -> None:
    disk = Disk(BEFORE)
    with pytest.raises(ValueError, match="bytes"):
        log_on(disk).append(lines)
    assert disk.now() == BEFORE


def test_writers_take_turns() -> None:
    disk = Disk()
    logs = [log_on(disk) for _ in range(3)]
    for number in range(30):
        assert logs[number % 3].append([line(number)]).first == number
    assert log_on(disk).size == 30


def test_rotation_keeps_every_entry_provable(tmp_path: Path) -> None:
    write_log(tmp_path, 5)
    files, fds = open_files(tmp_path, f"{5:020d}.jsonl")
    log = Log(files, KEY)
    log.append([line(number) for number in range(5, 12)])
    head = open_note(log.note, PUBLIC, "note")
    for index in range(12):
        assert inclusion_holds(index, 12, leaf_hash(line(index)), log.proof(index), head.root)
    for fd in fds:
        os.close(fd)
    assert verify_folder(tmp_path, PUBLIC).size == 12
    (tmp_path / "entries" / f"{0:020d}.jsonl").rename(tmp_path / "archived")
    with pytest.raises(LogError, match="segments are missing"):
        verify_folder(tmp_path, PUBLIC)
    found = verify_folder(tmp_path, PUBLIC, archived=True)
    assert (found.size, found.archived) == (12, 5)


@pytest.mark.parametrize("first", [4, 6, 99])
def test_a_segment_that_does_not_follow_is_refused(tmp_path: Path, first: int) -> None:
    write_log(tmp_path, 5)
    files, fds = open_files(tmp_path, f"{first:020d}.jsonl")
    with pytest.raises(LogError):
        Log(files, KEY)
    for fd in fds:
        os.close(fd)
