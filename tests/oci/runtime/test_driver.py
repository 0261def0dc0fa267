"""What runtimes say, read with mistrust."""

from __future__ import annotations

from pathlib import Path

import pytest

from veilbox.core.errors import MachineError
from veilbox.oci.runtime.dialect import candidates
from veilbox.oci.runtime.driver import (
    OciRuntime,
    RuntimeFacts,
    State,
    Status,
    choose,
    discover,
    last_message,
    parse_state,
    parse_version,
)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("crun version 1.8.1\ncommit: f8a0\nrundir: /run/crun\n", "1.8.1"),
        ("runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\n", "1.1.5+ds1"),
        ("crun 0.21.1\n", "0.21.1"),
        ("runsc version 0.0~20240729.0\nspec: 1.0.2-dev\n", "20240729.0"),
        ("runsc version release-20240729.0\nspec: 1.2.0\n", "20240729.0"),
        ("", ""),
        ("\n", ""),
    ],
)
def test_versions(said: str, version: str) -> None:
    assert parse_version(said) == version


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (b'{"ociVersion": "1.0.2", "id": "a", "status": "created", "pid": 7}', State(status=Status.CREATED, pid=7)),
        (b'{"id": "a", "status": "stopped", "pid": 7}', State(status=Status.STOPPED, pid=0)),
        (b'{"id": "a", "status": "stopped"}', State(status=Status.STOPPED, pid=0)),
    ],
)
def test_states(text: bytes, state: State) -> None:
    assert parse_state(text) == state


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"status": "dancing"}', b'{"status": "created", "pid": []}'])
def test_an_unreadable_state_is_an_error(text: bytes) -> None:
    with pytest.raises(MachineError, match="state"):
        parse_state(text)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (b'{"msg":"first","level":"warn"}\n{"msg":"the reason","level":"error"}\n', "the reason"),
        (b"plain words\n\n", "plain words"),
        (b'["no object"]\n', '["no object"]'),
        (b"", "no message"),
    ],
)
def test_last_messages(log: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(log)
    assert last_message(tmp_path / "log") == message


def test_no_log_no_message(tmp_path: Path) -> None:
    assert last_message(tmp_path / "log") == "no message"


def _program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "usable", "why"),
    [
        ("echo crun version 1.8.1", True, ""),
        ("echo crun version 0.17", False, "older than 1.0"),
        ("echo hello", False, "does not tell its version"),
        ("echo broken library >&2; exit 3", False, "broken library"),
    ],
)
def test_discovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, usable: bool, why: str) -> None:
    _program(tmp_path, "crun", script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    fact = discover(["crun"])[0]
    assert fact.usable is usable
    assert why in fact.why
    assert fact.binary == tmp_path / "crun"


def test_a_missing_runtime_says_so() -> None:
    fact = discover(["crun-that-nobody-wrote"])[0]
    assert (fact.binary, fact.usable, fact.why) == (None, False, "is not installed")


def _fact(name: str, *, usable: bool) -> RuntimeFacts:
    return RuntimeFacts(
        name=name, binary=Path("/x") / name, version="9.9", usable=usable, why="" if usable else "is old"
    )


def test_the_first_usable_is_chosen(tmp_path: Path) -> None:
    assert choose([_fact("crun", usable=False), _fact("runc", usable=True)], root=tmp_path).name == "runc"


def test_none_usable_tells_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"crun is old.*apt-get install crun"):
        choose([_fact("crun", usable=False)], root=tmp_path)


@pytest.mark.parametrize(
    ("asked", "minimum", "runtimes"),
    [
        ("auto", None, ("crun", "runc")),
        ("auto", 4, ("crun", "runc")),
        ("auto", 5, ("runsc",)),
        ("runc", 5, ("runc",)),
        ("runsc", None, ("runsc",)),
    ],
)
def test_who_may_run_a_job(asked: str, minimum: int | None, runtimes: tuple[str, ...]) -> None:
    assert candidates(asked, minimum) == runtimes


@pytest.mark.parametrize(("name", "limited", "words"), [("crun", False, 1), ("crun", True, 0), ("runsc", False, 5)])
def test_a_runtime_is_spoken_to_in_its_dialect(tmp_path: Path, name: str, limited: bool, words: int) -> None:
    _program(tmp_path, name, f'echo "$@" > {tmp_path}/said; exit 1')
    runtime = OciRuntime(tmp_path / name, name=name, version="1.0", root=tmp_path / "state", limited=limited)
    with pytest.raises(MachineError):
        runtime.start("one")
    said = (tmp_path / "said").read_text().split()
    assert said[:2] == ["--root", str(tmp_path / "state")]
    assert said[-2:] == ["start", "one"]
    assert len(said) == 4 + words
