from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from veilbox.seal.canary import planted, remove_forgotten


def test_canaries_are_reachable_while_they_are_planted_and_gone_afterwards(tmp_path: Path) -> None:
    with planted(tmp_path) as canaries:
        assert Path(canaries.path).parent == tmp_path
        assert Path(canaries.path).stat().st_mode & 0o777 == 0o644
        socket.create_connection(("127.0.0.1", canaries.tcp_port), timeout=5).close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix:
            unix.connect(f"\0{canaries.abstract_socket}")
    assert not Path(canaries.path).exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", canaries.tcp_port), timeout=5)


def test_two_jobs_have_canaries_of_their_own() -> None:
    with planted() as one, planted() as other:
        assert len({one.path, other.path}) == len({one.abstract_socket, other.abstract_socket}) == 2
        assert one.tcp_port != other.tcp_port


def test_the_file_of_a_killed_process_is_removed_and_a_living_ones_stays(tmp_path: Path) -> None:
    script = "import sys, pathlib; from veilbox.seal.canary import planted\n"
    script += "with planted(pathlib.Path(sys.argv[1])):\n    print(flush=True)\n    sys.stdin.read()\n"
    line = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert len(list(tmp_path.iterdir())) == 1
            with planted(tmp_path) as canaries:
                remove_forgotten(tmp_path)
                assert len(list(tmp_path.iterdir())) == 2
                process.kill()
                process.wait()
                remove_forgotten(tmp_path)
                assert list(tmp_path.iterdir()) == [Path(canaries.path)]
        finally:
            process.kill()


def test_what_only_bears_such_a_name_stays(tmp_path: Path) -> None:
    (tmp_path / "of somebody").write_text("theirs")
    (tmp_path / "veilbox-canary-link").symlink_to(tmp_path / "of somebody")
    (tmp_path / "veilbox-canary-folder").mkdir()
    os.mkfifo(tmp_path / "veilbox-canary-pipe")
    remove_forgotten(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_file_met_before_its_lock_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tempfile.mkstemp
    met: list[str] = []

    def slow(**options: Any) -> tuple[int, str]:
        descriptor, path = real(**options)
        if not met:
            met.append(path)
            remove_forgotten(tmp_path)
        return descriptor, path

    monkeypatch.setattr(tempfile, "mkstemp", slow)
    with planted(tmp_path) as canaries:
        assert list(tmp_path.iterdir()) == [Path(canaries.path)]
        assert met != [canaries.path]


def test_a_file_that_somebody_cleaned_away_is_no_error(tmp_path: Path) -> None:
    with planted(tmp_path) as canaries:
        Path(canaries.path).unlink()
