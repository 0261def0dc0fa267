"""Host ids: disjoint, bounded, exclusive, and free again."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.errors import MachineError
from veilbox.oci.runtime.ids import USER, Allotment, IdRange, ranges

ROOT = "         0          0 4294967295\n"
SUBORDINATE = "         0       1001          1\n         1     100000      65536\n"


def _hosts(one: IdRange) -> set[int]:
    return set(itertools.chain.from_iterable(range(line.host, line.host + line.size) for line in one.lines))


def test_root_gives_whole_ranges_above_systemds() -> None:
    got = list(ranges(ROOT, ROOT))
    assert got[0].lines[0].host == 1879048192
    assert all(one.lines[0].size == 65536 for one in got)
    assert got[-1].lines[0].host + 65536 <= 2147483647
    assert len({one.lines[0].host for one in got}) == len(got) == 4095


def test_subordinate_ids_are_split_in_pairs() -> None:
    got = list(ranges(SUBORDINATE, SUBORDINATE))
    assert [(line.container, line.host, line.size) for line in got[0].lines] == [(0, 1, 1), (USER, 2, 1)]
    assert len(got) == 4096


@given(count=st.integers(0, 40), fewer=st.integers(0, 40))
def test_pairs_are_disjoint_and_mapped_in_both_maps(count: int, fewer: int) -> None:
    def text(size: int) -> str:
        return f"0 1001 1\n1 100000 {size}\n" if size else "0 1001 1\n"

    got = [_hosts(one) for one in ranges(text(count), text(fewer))]
    assert len(got) == min(count, fewer) // 2
    together = list(itertools.chain.from_iterable(got))
    assert len(together) == len(set(together))
    assert set(together) <= set(range(1, min(count, fewer) + 1))


def test_a_gap_ends_the_usable_ids() -> None:
    assert len(list(ranges("0 1001 1\n1 100000 4\n9 200000 90\n", SUBORDINATE))) == 2


def test_two_supervisors_never_share(tmp_path: Path) -> None:
    first, second = (Allotment(tmp_path, uid_map=ROOT, gid_map=ROOT) for _ in range(2))
    with first, second:
        taken = [one.take() for one in (first, second, first, second)]
    assert len({one.lines[0].host for one in taken}) == 4


def test_closed_ranges_are_free_again(tmp_path: Path) -> None:
    allotment = Allotment(tmp_path, uid_map=ROOT, gid_map=ROOT)
    before = allotment.take()
    allotment.close()
    with Allotment(tmp_path, uid_map=ROOT, gid_map=ROOT) as other:
        assert other.take() == before


def test_none_left_says_what_to_do(tmp_path: Path) -> None:
    few = "0 1001 1\n1 100000 3\n"
    with Allotment(tmp_path, uid_map=few, gid_map=few) as allotment:
        allotment.take()
        with pytest.raises(MachineError, match="subordinate"):
            allotment.take()


def test_a_missing_lock_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="missing"):
        Allotment(tmp_path / "missing", uid_map=ROOT, gid_map=ROOT).take()


def test_host_ids(tmp_path: Path) -> None:
    with Allotment(tmp_path, uid_map=SUBORDINATE, gid_map=SUBORDINATE) as allotment:
        taken = allotment.take()
    assert (taken.host_id(0), taken.host_id(USER)) == (1, 2)
    with pytest.raises(MachineError, match="not mapped"):
        taken.host_id(1)
