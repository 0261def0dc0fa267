"""Launch a plan as threads of this process: for tests, and to measure what isolation costs.

The same components, rings and messages, without a single wall. Never chosen for footage: the command line does not
offer it.
"""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from veilbox.components import detect, entry, second
from veilbox.core.plan import Container, Plan
from veilbox.orchestrate.launcher import Cost, Launched, Root
from veilbox.orchestrate.plan import SECOND
from veilbox.transport.control import SupervisorControl

if TYPE_CHECKING:
    from veilbox.components.session import Session
    from veilbox.core.isolation import Gate

# Shared memory of the machine, as the containers' volumes are.
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made inside it


class _Thread:
    """One component in a thread; see `Launched`."""

    def __init__(self, name: str, control: SupervisorControl, rings: dict[str, str]) -> None:
        self.name = name
        self.control = control
        self.root: Root | None = None
        self.rings = rings
        self.create_ms = 0.0
        self.start_ns = 0
        self.thread: threading.Thread | None = None

    def fileno(self) -> int:
        return -1

    def exit_status(self) -> int | None:
        return None if self.thread is not None and self.thread.is_alive() else 0

    def last_words(self) -> str:
        return ""

    def observe(self) -> tuple[Gate, ...]:
        return ()

    def cost(self) -> Cost:
        return Cost()

    def end(self) -> None:
        self.control.close()
        if self.thread is not None:
            self.thread.join()


class _WithModels:
    """A detector, with its model folder where this machine has it rather than in an image."""

    def __init__(self, name: str, models: Path) -> None:
        self._component = second if name.startswith(SECOND) else detect
        self._models = models

    def run(self, session: Session) -> None:
        self._component.run(session, self._models)


class ThreadLauncher:
    """Runs plans in this process.

    Args:
        models: By detector, those of the second look too, the folder that an image would have as `/models`.
    """

    runtime = "threads"

    def __init__(self, models: Mapping[str, Path]) -> None:
        self._models = models
        self._threads: dict[str, _Thread] = {}
        self._stack = ExitStack()

    def launch(self, plan: Plan) -> dict[str, Launched]:
        """Start every component of a plan in a thread of its own."""
        shared = tempfile.TemporaryDirectory(prefix="veilbox-", dir=_SHARED_MEMORY)
        root = Path(self._stack.enter_context(shared))
        for volume in plan.volumes:
            (root / volume.name).mkdir()
        for container in plan.containers:
            self._start(container, root)
        return dict(self._threads)

    def _start(self, container: Container, root: Path) -> None:
        name = container.name
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        rings = {mount.volume: str(root / mount.volume) for mount in container.mounts}
        launched = _Thread(name, SupervisorControl(ours, name), rings)
        launched.start_ns = time.monotonic_ns()
        component = _WithModels(name, self._models[name]) if name in self._models else entry.load(name)
        launched.thread = threading.Thread(
            target=entry.serve, args=(name, component, theirs), kwargs={"first_ns": 0}, name=name, daemon=True
        )
        launched.thread.start()
        self._threads[name] = launched

    def memory_peak_bytes(self) -> int | None:
        """Unknown: this process holds more than the components."""
        return None

    def stop(self) -> None:
        """Close the control sockets, which ends the threads, and wait for them."""
        threads, self._threads = self._threads, {}
        for one in threads.values():
            one.control.close()
        for one in threads.values():
            if one.thread is not None:
                one.thread.join()
        self._stack.close()
