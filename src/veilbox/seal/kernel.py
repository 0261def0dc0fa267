"""Which kernel answers this process: the host's, or one of its own."""

from __future__ import annotations

import os

from veilbox.core.control import Canaries
from veilbox.core.isolation import Gate
from veilbox.seal.outcome import errno_name
from veilbox.seal.privilege import status

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_SHOWN = 8
# What gVisor says of itself, whatever its release. Source: gVisor, pkg/sentry/syscalls/linux/linux64.go.
_GVISOR = "#1 SMP Sun Jan 10 15:06:54 PST 2016"


def kernel() -> str:
    """Release and version, as uname(2) tells them: no mount can hide them."""
    identity = os.uname()
    return f"{identity.release} {identity.version}"


def boot_id() -> str:
    """The number that a kernel draws when it starts; empty where it is not shown."""
    return _first_line(_BOOT_ID)


def has_own_kernel(canaries: Canaries) -> bool:
    """Whether the kernel is not the host's, as `own_kernel` finds."""
    return own_kernel(canaries).held


def own_kernel(canaries: Canaries) -> Gate:
    """The kernel is not the host's: another release or version, and another boot.

    A kernel that shows no boot id is not the host's if its release is another: uname cannot be masked. gVisor and
    virtual machines hold it, a container of the host's kernel never does.
    """
    mine, boot = kernel(), boot_id()
    other = bool(canaries.kernel) and mine != canaries.kernel
    rebooted = bool(canaries.boot_id) and boot != canaries.boot_id
    return Gate(
        name="own-kernel",
        tried="compare release, version and boot id with the host's",
        found=f"{mine.split()[0]} {'another' if other else 'as the host'}, boot {boot[:_SHOWN] or 'not shown'} "
        f"{'another' if rebooted else 'as the host'}",
        held=other and rebooted,
    )


def kernel_identity() -> Gate:
    """Which kernel answers: its release, its boot, and whether it runs on a hypervisor. It tells, and fails never."""
    identity = os.uname()
    sandbox = "gVisor" if identity.version == _GVISOR else "Linux"
    return Gate(
        name="kernel-identity",
        tried="ask the kernel who it is",
        found=f"{sandbox} {identity.release} {identity.machine}, boot {boot_id()[:_SHOWN] or 'unknown'}, "
        f"hypervisor {_hypervisor()}, seccomp filters {status().get('Seccomp_filters', 'unknown')}",
        held=True,
    )


def _hypervisor() -> str:
    """Whether the processor says so; only x86 has a word for it."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError as error:
        return errno_name(error.errno)
    if not flags:
        return "unknown"
    return "yes" if " hypervisor" in flags else "no"


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.readline().strip()
    except OSError:
        return ""
