"""A component's allow-list of system calls as the OCI runtime-spec's `linux.seccomp` object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from veilbox.core.errors import MachineError
from veilbox.core.system_calls import FILTERED, NEVER_ALLOWED, UNKNOWN, Argument

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


def _test(argument: Argument) -> dict[str, Any]:
    if argument.mask is None:
        return {"index": argument.index, "value": argument.value, "op": "SCMP_CMP_EQ"}
    return {"index": argument.index, "value": argument.mask, "valueTwo": argument.value, "op": "SCMP_CMP_MASKED_EQ"}


def seccomp(syscalls: Sequence[str], architecture: str, *, errno: bool = True) -> dict[str, Any]:
    """Render an allow-list.

    Everything else fails with EPERM. `socket` and `socketpair` are for the Unix family only, `clone` makes threads of
    the same process only, `ioctl`, `prctl` and `personality` do a few harmless things only, no memory is writable and
    executable or becomes executable after it was made, and `clone3` is reported as unknown even if it is in the list.

    Args:
        syscalls: Names; those that the architecture does not have are passed over by the runtimes.
        architecture: The machine's (`x86_64`, `aarch64`) or the image's word (`amd64`, `arm64`).
        errno: Whether the runtime's filter answers with the number that it is told. gVisor's says EPERM whatever it is
            told; there the calls that are to look unknown are left to a tracer, and nobody traces: ENOSYS.

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
    allowed = set(syscalls) - NEVER_ALLOWED
    rules = [_allow(allowed - FILTERED.keys())] if allowed - FILTERED.keys() else []
    for name in sorted(allowed & FILTERED.keys()):
        rules += [_allow([name]) | {"args": [_test(one) for one in tests]} for tests in FILTERED[name]]
    unknown = [name for name in UNKNOWN if name not in allowed]
    refusal = {"action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS} if errno else {"action": "SCMP_ACT_TRACE"}
    rules.append({"names": unknown} | refusal)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": [_ARCHITECTURES[architecture]],
        "syscalls": rules,
    }


def _allow(names: Iterable[str]) -> dict[str, Any]:
    return {"names": sorted(names), "action": "SCMP_ACT_ALLOW"}
