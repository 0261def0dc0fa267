"""From a container's first instruction to its component's loop.

The control socket is file descriptor 0: every OCI runtime hands its standard input down, so no runtime needs an
option of its own. Everything else a component may touch arrives over that socket.
"""

from __future__ import annotations

import importlib
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Protocol, cast

from veilbox.components.session import Session, SupervisorGone
from veilbox.core.control import Faulted, Finished, Hello
from veilbox.core.errors import ComponentError, Failure, UsageError, VeilboxError
from veilbox.metrics.clock import distance_ns
from veilbox.transport.control import ComponentControl

# Component by the first word of its name: `detect-centerface` runs `detect`.
_COMPONENTS = ("ingest", "detect", "anonymize", "export", "claim", "verify", "second", "audit")


class Component(Protocol):
    """What a component's module offers."""

    def run(self, session: Session) -> None:
        """Do the component's work until its last item is done.

        Args:
            session: The supervisor's side of the conversation.
        """


def main(argv: Sequence[str], *, first_ns: int) -> int:
    """Run the component that the arguments name over file descriptor 0.

    Args:
        argv: The component's name.
        first_ns: CLOCK_MONOTONIC at the program's first instruction.

    Returns:
        0 when the work ended well, 1 after a fault that the supervisor was told, 2 if nobody asked for us.
    """
    name = argv[0] if argv else ""
    try:
        component = load(name)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return serve(name, component, socket.socket(fileno=0), first_ns=first_ns)


def load(name: str) -> Component:
    """Import a component's module, and with it everything that it needs.

    Raises:
        UsageError: There is no such component.
    """
    module = name.partition("-")[0]
    if module not in _COMPONENTS:
        raise UsageError("no such component", expected=", ".join(_COMPONENTS), actual=name)
    return cast("Component", importlib.import_module(f"veilbox.components.{module}"))


def serve(name: str, component: Component, control: socket.socket, *, first_ns: int) -> int:
    """Run a loaded component over a control socket, in a container or in a thread.

    Returns:
        0 when the work ended well, 1 after a fault.
    """
    session = Session(ComponentControl(control), sealed=first_ns > 0)
    try:
        session.send(Hello(component=name, first_ns=first_ns, imported_ns=time.monotonic_ns(), clock_ns=distance_ns()))
        component.run(session)
        session.send(Finished())
        session.await_end()
    except SupervisorGone:
        return 0
    except VeilboxError as error:
        return _fault(session, Failure.of(error))
    except Exception as error:  # noqa: BLE001 - the last door: whatever it was, the job must end, and be told why
        return _fault(session, _unforeseen(error))
    finally:
        session.close()
    return 0


def _unforeseen(error: Exception) -> Failure:
    """The place and type of a bug; never its text, which may quote the footage."""
    frames = traceback.extract_tb(error.__traceback__)
    place = ", ".join(f"{frame.name}:{frame.lineno}" for frame in frames[-3:])
    return Failure(
        kind=ComponentError.__name__,
        what="internal error",
        actual=f"{type(error).__name__} at {place}",
        advice="Please report it with this line",
    )


def _fault(session: Session, failure: Failure) -> int:
    try:
        session.send(Faulted(failure=failure))
        session.await_end()
    except (SupervisorGone, VeilboxError, OSError):
        return 1
    return 1
