"""What the known runtimes want said differently; all else is the command line that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How one runtime is spoken to.

    Attributes:
        oldest: The first version that can do what `config.py` and `driver.py` ask for.
        options: Said before every command.
        unlimited: Said too where no control group can be made.
        notes: Where it notes a container below its state folder; `{id}` stands for the container's id.
        package: Debian's package.
        own_kernel: Whether containers run on a kernel of their own. Its process on the host is then not the component
            but what keeps it.
        more_pids: Threads of its own, which count in the container's limit.
        guest_mounts: File systems that its kernel mounts unasked, and that are therefore asked for, read-only.
        errno_of_filters: Whether its filter answers with the number that the bundle asks for.
        containers: Whether what it makes are containers; otherwise processes that share the host's mounts.
    """

    oldest: tuple[int, int] = (0, 0)
    options: tuple[str, ...] = ()
    unlimited: tuple[str, ...] = ()
    notes: tuple[str, ...] = ("{id}",)
    package: str = ""
    own_kernel: bool = False
    more_pids: int = 0
    guest_mounts: tuple[str, ...] = ()
    errno_of_filters: bool = True
    containers: bool = True


# crun 1.0: --cgroup-manager=disabled without root.
_CRUN = Dialect(oldest=(1, 0), unlimited=("--cgroup-manager=disabled",), package="crun")
# runc 1.1: limits together with a user namespace on cgroup v2.
_RUNC = Dialect(oldest=(1, 1), package="runc")

# gVisor of 2024: the first of Debian's that hands descriptors over a host's socket pair into the sandbox
# (tests/oci/runtime/test_runsc.py). Its network stack knows the loopback only; overlays in memory, which would make
# the root writable, are off; the bundle's seccomp filter is taken, which it leaves aside unless asked.
# Pids: its threads and those that stand for the component's, measured 61 to 90 in a job's containers (2 cores,
# 2026-11).
_RUNSC = Dialect(
    oldest=(20240729, 0),
    options=("--network=none", "--overlay2=none", "--oci-seccomp", "--platform=systrap"),
    unlimited=("--ignore-cgroups",),
    notes=("{id}_sandbox:{id}.state",),
    package="runsc",
    own_kernel=True,
    more_pids=256,
    guest_mounts=("/sys", "/tmp", "/dev/net", "/dev/pts"),  # noqa: S108 - of the container, and read-only
    errno_of_filters=False,
)

# No program: veilbox itself seals processes (`veilbox.oci.runtime.processes`).
PROCESS = "process"
# What is noted of one, in a folder of the state folder.
PROCESS_NOTE = "process.json"

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {"crun": _CRUN, "runc": _RUNC, "runsc": _RUNSC, PROCESS: Dialect(containers=False)}
)

# In the order of preference: crun starts a container in half of runc's time. Taken unasked are only these: with a
# kernel of its own a container starts and works at a price (docs/reference/runtimes.md), and the walls of a sealed
# process are weaker.
KNOWN = ("crun", "runc")
_OWN_KERNEL = tuple(name for name, dialect in DIALECTS.items() if dialect.own_kernel)
_OWN_KERNEL_LEVEL = 5


def candidates(asked: str, minimum: int | None) -> tuple[str, ...]:
    """The runtimes that may run a job, the preferred one first.

    Args:
        asked: `auto`, or the only one that may.
        minimum: The isolation level that the job demands; None if it takes what there is.
    """
    if asked != "auto":
        return (asked,)
    return _OWN_KERNEL if (minimum or 0) >= _OWN_KERNEL_LEVEL else KNOWN
