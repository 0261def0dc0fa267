"""Commands whose results have no place for it warn of sealed processes, once, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from veilbox.cli.main import main
from veilbox.cli.weak_walls import SEALED_PROCESSES
from veilbox.core.errors import MachineError


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A command's words on one photograph, whose job ends before it starts a pod."""
    photo, labels = tmp_path / "photo.jpg", tmp_path / "labels.json"
    photo.write_bytes(b"\xff\xd8\xff")
    labels.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))

    def refused(*_arguments: object, **_keywords: object) -> None:
        raise MachineError("no pod in this test")

    monkeypatch.setattr("veilbox.orchestrate.detect.detect_every", refused)
    monkeypatch.setattr("veilbox.orchestrate.evaluate.evaluate", refused)
    own = {"evaluate": ["--labels", str(labels)], "detect": []}
    return lambda name, *options: [name, str(photo), *own[name], *options]


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("detect", ["--runtime", "process"], 1),
        ("detect", ["--runtime", "crun"], 0),
        ("detect", [], 0),
        ("evaluate", ["--runtime", "process"], 1),
        ("evaluate", ["--against=--runtime process"], 1),
        ("evaluate", ["--runtime", "process", "--against=--recall high"], 1),
        ("evaluate", ["--against=--runtime runc"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_it_is_said_before_the_first_pod(
    command: Callable[..., list[str]], name: str, options: list[str], told: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(name, *options)) == MachineError.exit_code
    assert capsys.readouterr().err.count(SEALED_PROCESSES) == told
