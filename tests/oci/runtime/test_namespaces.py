"""Subordinate ids and the words for newuidmap."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from veilbox.core.errors import MachineError
from veilbox.oci.runtime import namespaces, syscalls
from veilbox.oci.runtime.namespaces import enter_private_namespaces, id_map, login_name, subordinate_ids


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


def _ordinary(monkeypatch: pytest.MonkeyPatch, *, ids: bool = True, tools: bool = True) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/tool" if tools else None)
    monkeypatch.setattr(namespaces, "subordinate_ids", lambda *_: ((100000, 65536),) if ids else ())


def _refuse(_flags: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("lacks", "advice"),
    [({"ids": False}, "usermod --add-subuids"), ({"tools": False}, "package uidmap"), ({}, "max_user_namespaces")],
)
def test_what_is_lacking_without_root_comes_with_advice(
    monkeypatch: pytest.MonkeyPatch, lacks: dict[str, bool], advice: str
) -> None:
    _ordinary(monkeypatch, **lacks)
    monkeypatch.setattr(syscalls, "unshare", _refuse)
    with pytest.raises(MachineError, match=advice):
        enter_private_namespaces()


def test_a_machine_without_mount_namespaces_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(syscalls, "unshare", _refuse)
    with pytest.raises(MachineError, match="mount namespace"):
        enter_private_namespaces()
