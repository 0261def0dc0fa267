"""Subordinate ids and the words for newuidmap."""

from __future__ import annotations

from pathlib import Path

import pytest

from veilbox.oci.runtime.namespaces import id_map, login_name, subordinate_ids


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("ada:100000:65536\n", ((100000, 65536),)),
        ("# all\nbob:1:2\nada:100000:65536\n1001:300000:10\n", ((100000, 65536), (300000, 10))),
        ("ada:100000\nada:x:y\nada:1:-2\n\n", ()),
        ("adah:100000:65536\n", ()),
    ],
)
def test_subordinate_ids(tmp_path: Path, text: str, ranges: tuple[tuple[int, int], ...]) -> None:
    (tmp_path / "subuid").write_text(text)
    assert subordinate_ids(tmp_path / "subuid", "ada", 1001) == ranges


def test_no_table_no_ids(tmp_path: Path) -> None:
    assert subordinate_ids(tmp_path / "subuid", "ada", 1001) == ()


def test_the_map_has_no_gaps() -> None:
    words = id_map(1001, ((100000, 65536), (300000, 10)))
    assert words == ("0", "1001", "1", "1", "100000", "65536", "65537", "300000", "10")


def test_an_account_without_a_name_goes_by_number() -> None:
    assert login_name(4_000_000_000) == "4000000000"
