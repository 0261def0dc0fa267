"""A policy file is understood whole, or refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from veilbox.core.errors import SourceMissing, UsageError
from veilbox.core.policy import Detection, Keep, Policy, Recall, Redaction, Retention, Style, Verdict, Verification
from veilbox.orchestrate.policy_file import parse_policy, read_policy

TOML = b"""
version = 1
keep = ["audio"]
minimum_isolation = 3
retention = "delete"
[detection]
classes = ["face", "cat"]
models = ["cats@sha256:00"]
recall = "high"
threshold = 0.5
[redaction]
style = "blur"
cells = 4
[verification]
structure = "quarantine"
"""
MEANT = Policy(
    keep=(Keep.AUDIO,),
    minimum_isolation=3,
    retention=Retention.DELETE,
    detection=Detection(classes=("face", "cat"), models=("cats@sha256:00",), recall=Recall.HIGH, threshold=0.5),
    redaction=Redaction(style=Style.BLUR, cells=4),
    verification=Verification(structure=Verdict.QUARANTINE),
)


def test_fields_are_the_policys_and_the_rest_is_default() -> None:
    assert parse_policy(TOML, as_json=False) == MEANT
    assert parse_policy(b"version = 1", as_json=False) == Policy()


def test_every_policy_can_be_written_as_json() -> None:
    for policy in (MEANT, Policy()):
        text = msgspec.json.encode({"version": 1} | msgspec.to_builtins(policy))
        assert parse_policy(text, as_json=True) == policy


REFUSED = {
    "a field of no policy": (b"version = 1\nkep = []", "kep"),
    "a field of no table": (b"version = 1\n[redaction]\nsyle = 'solid'", "redaction.syle"),
    "another table's field": (b"version = 1\n[tracking]\ncells = 4", "tracking.cells"),
    "no version": (b"keep = []", "version"),
    "another version": (b"version = 2", "version"),
    "a value of another kind": (b"version = 1\n[redaction]\ncells = '4'", "cells"),
    "no such style": (b"version = 1\n[redaction]\nstyle = 'red'", "style"),
    "out of bounds": (b"version = 1\n[redaction]\ncells = 9", "--cells"),
    "a table that is a value": (b"version = 1\nredaction = 3", "redaction"),
    "no TOML": (b"version = = 1", "not a policy"),
    "no text": (b"\xff\xfe", "not a policy"),
    "too much": (b"#" * ((1 << 20) + 1), "too large"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_policy_that_is_half_understood_is_none(what: str, tmp_path: Path) -> None:
    raw, place = REFUSED[what]
    path = tmp_path / "policy.toml"
    path.write_bytes(raw)
    with pytest.raises(UsageError) as caught:
        read_policy(path)
    assert place in str(caught.value)
    assert "policy.toml" in str(caught.value)


@pytest.mark.parametrize("raw", [b"[]", b"{", b"[" * 100_000, b'{"version": 1, "detection": {"classes": "face"}}'])
def test_json_that_is_no_policy_is_refused(raw: bytes) -> None:
    with pytest.raises(UsageError):
        parse_policy(raw, as_json=True)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="policy cannot be opened"):
        read_policy(tmp_path / "none.toml")
