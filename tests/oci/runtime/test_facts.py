"""What `veilbox doctor` shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from veilbox.oci.runtime import facts, syscalls
from veilbox.oci.runtime.facts import machine_facts
from veilbox.oci.runtime.namespaces import subordinate_ids


def test_every_question_has_an_answer() -> None:
    found = machine_facts()
    names = [fact.name for fact in found]
    assert len(names) == len(set(names))
    assert {"OCI runtime", "crun", "runc", "kernel", "namespaces", "user namespaces", "cgroups", "overlayfs"} <= set(
        names
    )
    assert {"Landlock", "seccomp", "KVM", "GPU", "unnamed files", "sealed processes"} <= set(names)
    assert all(fact.state for fact in found)


def test_what_is_required_and_missing_comes_with_advice() -> None:
    assert all(fact.advice for fact in machine_facts() if fact.required and not fact.ok)


@pytest.mark.parametrize(
    ("table", "refused", "tools", "advice"),
    [
        ("ada:100000:65536\n", (), "/usr/bin/newuidmap", ""),
        ("", (), "/usr/bin/newuidmap", "usermod"),
        ("ada:100000:65536\n", (), None, "uidmap"),
        (
            "ada:100000:65536\n",
            ("kernel.unprivileged_userns_clone",),
            "/usr/bin/newuidmap",
            "unprivileged_userns_clone",
        ),
    ],
)
def test_without_root(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    table: str,
    refused: tuple[str, ...],
    tools: str | None,
    advice: str,
) -> None:
    path = tmp_path / "subuid"
    path.write_text(table)
    monkeypatch.setattr(facts, "login_name", lambda _uid: "ada")
    monkeypatch.setattr(facts, "subordinate_ids", lambda _table, name, uid: subordinate_ids(path, name, uid))
    monkeypatch.setattr(shutil, "which", lambda _name: tools)
    fact = facts._rootless(refused)
    assert fact.ok is not bool(advice)
    assert advice in fact.advice


@pytest.mark.parametrize(("abi", "required"), [(0, True), (2, True), (3, False), (7, False)])
def test_without_a_runtime_sealed_processes_are_the_way_out(
    monkeypatch: pytest.MonkeyPatch, abi: int, *, required: bool
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name, **_kind: None)
    monkeypatch.setattr(syscalls, "landlock_abi", lambda: abi)
    found = {fact.name: fact for fact in facts._runtimes()}
    assert found["sealed processes"].ok is not required
    assert not found["OCI runtime"].ok
    assert found["OCI runtime"].required is required
    assert ("--runtime process" in found["OCI runtime"].advice) is not required
