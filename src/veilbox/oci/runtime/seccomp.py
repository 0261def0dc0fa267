"""A component's allow-list of system calls as the OCI runtime-spec's `linux.seccomp` object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from veilbox.core.errors import MachineError

# A runtime kills whoever calls through another architecture's entry (32 bit, x32): libseccomp's SCMP_ACT_KILL for
# architectures that are not named here.
_ARCHITECTURES: Mapping[str, str] = {
    "x86_64": "SCMP_ARCH_X86_64",
    "amd64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "arm64": "SCMP_ARCH_AARCH64",
}

_EPERM = 1
_ENOSYS = 38

_AF_UNIX = 1

# linux/sched.h: the seven CLONE_NEW* flags, and what makes a thread of this process rather than a new process.
_CLONE_NAMESPACES = 0x7E020000
_CLONE_THREAD = 0x00010000 | 0x00000100  # CLONE_THREAD | CLONE_VM

# asm-generic/ioctls.h. TIOCSTI, which types into a terminal, and every driver's requests stay refused.
_TCGETS = 0x5401
_FIONREAD = 0x541B
_FIONBIO = 0x5421
_FIONCLEX = 0x5450
_FIOCLEX = 0x5451

# linux/prctl.h: dying with the supervisor, thread names, the probe's question. PR_SET_DUMPABLE, PR_SET_MM and the
# like stay refused.
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_GET_NAME = 16
_PR_GET_NO_NEW_PRIVS = 39

_PERSONALITY_QUERY = 0xFFFFFFFF

# asm-generic/mman-common.h. Memory is written or executed, never both, and nothing that was written becomes executable:
# the loader maps libraries executable from files that cannot be written. No library of ours makes code while it runs;
# the sealed tests, which decode and encode every format, would show it.
_PROT_WRITE = 0x2
_PROT_EXEC = 0x4


def _equal(index: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}


def _masked(index: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


# Calls that are allowed with some arguments only: one rule for each alternative.
_FILTERED: Mapping[str, tuple[dict[str, Any], ...]] = {
    "socket": (_equal(0, _AF_UNIX),),
    "socketpair": (_equal(0, _AF_UNIX),),
    "clone": (_masked(0, _CLONE_NAMESPACES | _CLONE_THREAD, _CLONE_THREAD),),
    "ioctl": tuple(_equal(1, request) for request in (_TCGETS, _FIONREAD, _FIONBIO, _FIONCLEX, _FIOCLEX)),
    "prctl": tuple(
        _equal(0, option) for option in (_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_GET_NAME, _PR_GET_NO_NEW_PRIVS)
    ),
    "personality": (_equal(0, _PERSONALITY_QUERY),),
    "mmap": tuple(_masked(2, _PROT_WRITE | _PROT_EXEC, way) for way in (0, _PROT_WRITE, _PROT_EXEC)),
    "mprotect": (_masked(2, _PROT_EXEC, 0),),
}

# The C library takes an older call instead when these are unknown, but not when they are forbidden. A filter cannot
# see clone3's flags, which lie in memory. Source: glibc 2.36, sysdeps/unix/sysv/linux; Docker's default profile.
_UNKNOWN = (
    "cachestat",
    "clone3",
    "close_range",
    "copy_file_range",
    "epoll_pwait2",
    "faccessat2",
    "fchmodat2",
    "futex_waitv",
    "membarrier",
    "openat2",
    "preadv2",
    "pwritev2",
    "statx",
)
_NEVER_ALLOWED = frozenset({"clone3", "pkey_mprotect", "remap_file_pages", "shmat"})


def seccomp(syscalls: Sequence[str], architecture: str) -> dict[str, Any]:
    """Render an allow-list.

    Everything else fails with EPERM. `socket` and `socketpair` are for the Unix family only, `clone` makes threads of
    the same process only, `ioctl`, `prctl` and `personality` do a few harmless things only, no memory is writable and
    executable or becomes executable after it was made, and `clone3` is reported as unknown even if it is in the list.

    Args:
        syscalls: Names; those that the architecture does not have are passed over by the runtimes.
        architecture: The machine's (`x86_64`, `aarch64`) or the image's word (`amd64`, `arm64`).

    Returns:
        The object for `linux.seccomp` of config.json, the same for the same list in any order.

    Raises:
        MachineError: The architecture is none of the four.

    Source: OCI runtime-spec 1.2, config-linux.md#seccomp.
    """
    if architecture not in _ARCHITECTURES:
        raise MachineError(
            "no system call filter for this processor", expected=", ".join(_ARCHITECTURES), actual=architecture
        )
    allowed = set(syscalls) - _NEVER_ALLOWED
    rules = [_allow(allowed - _FILTERED.keys())] if allowed - _FILTERED.keys() else []
    for name in sorted(allowed & _FILTERED.keys()):
        rules += [_allow([name]) | {"args": [test]} for test in _FILTERED[name]]
    unknown = [name for name in _UNKNOWN if name not in allowed]
    rules.append({"names": unknown, "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": [_ARCHITECTURES[architecture]],
        "syscalls": rules,
    }


def _allow(names: Iterable[str]) -> dict[str, Any]:
    return {"names": sorted(names), "action": "SCMP_ACT_ALLOW"}
