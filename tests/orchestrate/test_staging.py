"""Outputs appear complete under their final name, or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from veilbox.core.digest import Digest
from veilbox.core.errors import OutputError, ProtocolError, UsageError
from veilbox.orchestrate import staging
from veilbox.orchestrate.staging import StagedOutput


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["unnamed", "partial"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways: with unnamed files, and as on a file system that has none."""
    if request.param == "partial":

        def refuse(folder: Path) -> int:
            raise OSError(95, "Operation not supported", str(folder))

        monkeypatch.setattr(staging, "_unnamed", refuse)


@pytest.mark.usefixtures("_way")
class TestBothWays:
    def test_nothing_has_the_name_before_release(self, tmp_path: Path) -> None:
        with StagedOutput.create(tmp_path / "new" / "a.mp4", replace=False) as staged:
            os.write(staged.fd, b"clean")
            assert not (tmp_path / "new").exists()
            staged.freeze()
            digest, size = staged.digest()
            staged.sync()
            staged.release()
        assert (tmp_path / "new" / "a.mp4").read_bytes() == b"clean"
        assert (digest, size) == (Digest.of(b"clean"), 5)
        assert _names(tmp_path / "new") == ["a.mp4"]
        assert _names(tmp_path) == ["new"]

    def test_what_is_not_released_leaves_nothing(self, tmp_path: Path) -> None:
        with StagedOutput.create(tmp_path / "a.mp4", replace=False) as staged:
            os.write(staged.fd, b"half")
        assert _names(tmp_path) == []

    def test_a_taken_name_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"mine")
        with pytest.raises(UsageError, match="exists already"):
            StagedOutput.create(tmp_path / "a.mp4", replace=False)
        assert (tmp_path / "a.mp4").read_bytes() == b"mine"

    def test_a_name_taken_meanwhile_is_kept(self, tmp_path: Path) -> None:
        with StagedOutput.create(tmp_path / "a.mp4", replace=False) as staged:
            (tmp_path / "a.mp4").write_bytes(b"mine")
            with pytest.raises(OutputError, match="File exists"):
                staged.release()
        assert (tmp_path / "a.mp4").read_bytes() == b"mine"
        assert _names(tmp_path) == ["a.mp4"]

    def test_replacing_is_one_step(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"old")
        with StagedOutput.create(tmp_path / "a.mp4", replace=True) as staged:
            os.write(staged.fd, b"new")
            assert (tmp_path / "a.mp4").read_bytes() == b"old"
            staged.release()
        assert (tmp_path / "a.mp4").read_bytes() == b"new"
        assert _names(tmp_path) == ["a.mp4"]

    def test_a_writer_that_stays_is_found(self, tmp_path: Path) -> None:
        with StagedOutput.create(tmp_path / "a.mp4", replace=False) as staged:
            kept = os.dup(staged.fd)
            with pytest.raises(ProtocolError, match="still open for writing"):
                staged.freeze()
            os.close(kept)
        assert _names(tmp_path) == []


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        StagedOutput.create(tmp_path, replace=True)


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    with pytest.raises(OutputError, match="file"):
        StagedOutput.create(blocker / "a.mp4", replace=False)


def test_an_output_leaves_a_part_of_what_is_free_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {tmp_path / "large": 2000, tmp_path / "small": 1000}
    for folder in free:
        folder.mkdir()
    usage = {folder: shutil.disk_usage(tmp_path)._replace(free=size) for folder, size in free.items()}
    monkeypatch.setattr("veilbox.orchestrate.staging.shutil.disk_usage", usage.__getitem__)
    assert staging.largest_output([tmp_path / "large" / "a.mp4", tmp_path / "small" / "not" / "yet" / "b.mp4"]) == 950
    assert staging.largest_output([]) is None


# Sizes at successive times, and when the kernel is asked to let go of the file's pages.
EASED = {
    "short": ([(0.0, 1 << 20), (10.0, 15 << 20)], []),
    "long": ([(10.0, 15 << 20), (11.0, 17 << 20), (12.5, 17 << 20), (13.0, 20 << 20), (14.5, 21 << 20)], [12.5, 14.5]),
}


@pytest.mark.parametrize("name", EASED)
def test_only_long_outputs_leave_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    sizes, wanted = EASED[name]
    asked: list[tuple[int, int, int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *arguments: asked.append(arguments))
    times = []
    with StagedOutput.create(tmp_path / "a.mp4", replace=False) as staged:
        for now_s, size in sizes:
            os.ftruncate(staged.fd, size)
            before = len(asked)
            staged.ease(now_s)
            times += [now_s] * (len(asked) - before)
        assert times == wanted
        assert set(asked) <= {(staged.fd, 0, 0, os.POSIX_FADV_DONTNEED)}


def test_a_file_system_that_takes_no_advice_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: int) -> None:
        raise OSError(22, "Invalid argument", str(arguments))

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    with StagedOutput.create(tmp_path / "a.mp4", replace=False) as staged:
        os.ftruncate(staged.fd, 32 << 20)
        staged.ease(5.0)
        staged.freeze()
        staged.release()
    assert (tmp_path / "a.mp4").stat().st_size == 32 << 20


def test_what_was_made_is_whole_after_its_pages_left(tmp_path: Path) -> None:
    content = os.urandom(1 << 20) * 17
    with StagedOutput.create(tmp_path / "a.mp4", replace=False) as staged:
        for now_s in (5.0, 10.0):
            os.write(staged.fd, content)
            staged.ease(now_s)
        staged.freeze()
        assert staged.digest() == (Digest.of(content * 2), 2 * len(content))
        staged.ease(15.0)
        staged.release()
    assert (tmp_path / "a.mp4").read_bytes() == content * 2
