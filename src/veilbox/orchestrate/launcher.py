"""The seam between a plan and whatever runs it: containers of a runtime, or threads of this process."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from veilbox.core.isolation import Gate
from veilbox.core.plan import Plan
from veilbox.transport.control import SupervisorControl


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a component used; None where the machine does not tell.

    Attributes:
        out_of_memory: Times that the kernel killed in the component's memory group.
    """

    cpu_s: float | None = None
    memory_peak_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    out_of_memory: int = 0


class Root(StrEnum):
    """How a container's root file system was made of its image's layers.

    `merged`: the kernel refused an overlay; the layers stand in the store as one more folder.
    """

    OVERLAY = "overlay"
    MERGED = "merged"


class Launched(Protocol):
    """One component from outside.

    Attributes:
        name: The container's name in the plan.
        control: The supervisor's end of its control socket.
        root: How its root file system was made; None if it has none of its own.
        rings: Where the volume of each ring lies for this component, by volume name.
        create_ms: What the runtime took to build the container.
        start_ns: CLOCK_MONOTONIC when it was started.
    """

    name: str
    control: SupervisorControl
    root: Root | None
    rings: dict[str, str]
    create_ms: float
    start_ns: int

    def fileno(self) -> int:
        """A descriptor that is readable once the component has ended; -1 if there is none."""

    def exit_status(self) -> int | None:
        """None while it runs; 128 + n after signal n."""

    def last_words(self) -> str:
        """The last line that it printed."""

    def observe(self) -> tuple[Gate, ...]:
        """What the host sees of its walls."""

    def cost(self) -> Cost:
        """What it has used so far."""

    def end(self) -> None:
        """End it at once, so that what it holds is free; what is left of it goes with `Launcher.stop`."""


class Launcher(Protocol):
    """Starts every container of a plan, and ends every one on every path."""

    runtime: str

    def launch(self, plan: Plan) -> dict[str, Launched]:
        """Create and start all containers.

        Raises:
            MachineError: The runtime or the kernel refused.
        """

    def memory_peak_bytes(self) -> int | None:
        """The most that all of them held at once so far; None where the machine does not tell."""

    def stop(self) -> None:
        """End and remove everything that was launched; safe to call at any moment and twice."""
