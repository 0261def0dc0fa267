"""Canaries: things on the host that a sealed component must not reach."""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from veilbox.core.control import Canaries
from veilbox.seal.kernel import boot_id, kernel

# Nobody ever accepts: a connection that gets into the queue has already told the probe what it wanted to know.
_BACKLOG = 128


@contextmanager
def planted(directory: Path | None = None) -> Iterator[Canaries]:
    """Put canaries on the host for the time of the block.

    The file is readable for everybody, so that only a wall can hide it. No volumes are named; give each component its
    own with `dataclasses.replace`.

    Args:
        directory: Where the file goes, readable for everybody; the system's folder for temporary files if None.

    Yields:
        The canaries' addresses.

    Raises:
        OSError: The machine has no loopback interface, or the folder cannot be written.
    """
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        tcp.bind(("127.0.0.1", 0))
        tcp.listen(_BACKLOG)
        name = f"veilbox-canary-{secrets.token_hex(8)}"
        unix = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        unix.bind(f"\0{name}")
        unix.listen(_BACKLOG)
        file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="veilbox-canary-", dir=directory))
        file.write(b"A sealed component cannot read this.\n")
        file.flush()
        Path(file.name).chmod(0o644)
        yield Canaries(
            path=file.name,
            tcp_port=tcp.getsockname()[1],
            abstract_socket=name,
            kernel=kernel(),
            boot_id=boot_id(),
        )
