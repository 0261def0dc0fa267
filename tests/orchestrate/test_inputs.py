"""Paths that a person named become items, or a clear refusal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veilbox.core.errors import OutputError, SourceMissing, UsageError, VeilboxError
from veilbox.orchestrate.inputs import items_for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("in/a.jpg", "in/sub/b.MP4", "in/notes.txt", "in/sub/c.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "in/link.jpg").symlink_to(tmp_path / "in/a.jpg")
    return tmp_path


def test_a_folder_keeps_its_structure_and_counts_the_rest(folder: Path) -> None:
    items, skipped, collected = items_for([folder / "in"], str(folder / "out"))
    outputs = [item.output.relative_to(folder / "out") for item in items if item.output]
    assert [str(path) for path in outputs] == ["a.jpg", "sub/b.MP4", "sub/c.png"]
    assert (skipped, collected) == (2, True)


def test_a_file_goes_into_an_existing_folder_or_gets_the_name(folder: Path) -> None:
    source = folder / "in/a.jpg"
    for output, expected in ((str(folder), folder / "a.jpg"), (str(folder / "n.jpg"), folder / "n.jpg")):
        ((item,), _, collected) = items_for([source], output)
        assert (item.output, collected) == (expected, False)
    ((item,), _, _) = items_for([source], f"{folder / 'new'}/")
    assert item.output == folder / "new/a.jpg"


@pytest.mark.parametrize("name", ["with space.jpg", "new\nline.jpg", "-dash.jpg", "caf\udce9.jpg", "ünï.jpg"])
def test_any_file_name_is_taken(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_bytes(b"x")
    ((item,), _, _) = items_for([source], str(tmp_path / "out.jpg"))
    assert os.fsencode(item.source) == os.fsencode(source)


@pytest.mark.parametrize(
    ("inputs", "output", "error", "text"),
    [
        (["in/missing.jpg"], "out.jpg", SourceMissing, "no such file"),
        (["empty"], "out", SourceMissing, "no image or film"),
        (["in/a.jpg"], "in/a.jpg", UsageError, "one of the inputs"),
        (["in/a.jpg"], "hard.jpg", UsageError, "one of the inputs"),
        (["in"], "in", UsageError, "one of the inputs"),
        (["in/a.jpg"], "no/such/out.jpg", OutputError, "folder does not exist"),
        (["in/a.jpg", "twin/a.jpg"], "out", UsageError, "same output"),
        (["in/a.jpg", "in/a.jpg"], "out", UsageError, "same output"),
        (["n" * 300], "out.jpg", SourceMissing, "cannot be looked up"),
        (["in/a.jpg"], "n" * 300, OutputError, "cannot be looked up"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(
    folder: Path, inputs: list[str], output: str, error: type[VeilboxError], text: str
) -> None:
    (folder / "empty").mkdir()
    (folder / "twin").mkdir()
    (folder / "twin/a.jpg").write_bytes(b"y")
    (folder / "hard.jpg").hardlink_to(folder / "in/a.jpg")
    with pytest.raises(error, match=text):
        items_for([folder / name for name in inputs], str(folder / output))
