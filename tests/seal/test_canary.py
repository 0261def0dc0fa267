from __future__ import annotations

import socket
from pathlib import Path

import pytest

from veilbox.seal.canary import planted


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
