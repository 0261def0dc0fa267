"""Gates of level 4: the filter on system calls, tried call by call.

Each attempt has arguments that the kernel's own code rejects before it does anything, with an errno other than
those of a filter: an answer like EINVAL, EBADF or EFAULT means that the call got through. So the probe changes
nothing where nothing is sealed.
"""

from __future__ import annotations

from collections.abc import Mapping

from veilbox.core.isolation import Gate
from veilbox.seal.outcome import REFUSALS
from veilbox.seal.privilege import status
from veilbox.seal.syscalls import calling, known_machine

_FILTERED = "2"  # linux/seccomp.h SECCOMP_MODE_FILTER
# The runtime's, and the component's own.
LEAST_FILTERS = 2

# linux/sched.h
_NAMESPACES: Mapping[str, int] = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
_NO_FLAG_OF_UNSHARE = 1  # a bit of the exit signal, unknown to unshare: EINVAL
_CLONE_SIGHAND = 0x00000800  # without CLONE_VM: EINVAL, whatever else is asked

_ALL_BITS = 0x7FFFFFFF
_NO_DESCRIPTOR = -1
_AT_FDCWD = -100
_PTRACE_ATTACH = 16

# What comes out where the call gets through, for a process without rights, is in the comment.
_CALLS: Mapping[str, tuple[int, ...]] = {
    "clone3": (0, 0),  # EINVAL; a filter cannot see its flags, so it must be refused as a whole
    "setns": (_NO_DESCRIPTOR, 0),  # EBADF
    "mount": (0, 0, 0, 0, 0),  # EFAULT
    "umount2": (0, _ALL_BITS),  # EINVAL
    "open_tree": (_AT_FDCWD, 0, 0),  # EFAULT
    "fspick": (_AT_FDCWD, 0, _ALL_BITS),  # EINVAL or EPERM
    "ptrace": (_PTRACE_ATTACH, 0, 0, 0),  # ESRCH
    "process_vm_readv": (0, 0, 0, 0, 0, 1),  # EINVAL
    "process_vm_writev": (0, 0, 0, 0, 0, 1),  # EINVAL
    "pidfd_open": (0, _ALL_BITS),  # EINVAL
    "pidfd_getfd": (_NO_DESCRIPTOR, _NO_DESCRIPTOR, 0),  # EBADF
    "kcmp": (0, 0, 0, 0, 0),  # ESRCH
    "bpf": (0, 0, 0),  # EINVAL or EPERM
    "perf_event_open": (0, 0, _NO_DESCRIPTOR, _NO_DESCRIPTOR, 0),  # EFAULT
    "io_uring_setup": (0, 0),  # EFAULT
    "io_uring_enter": (_NO_DESCRIPTOR, 0, 0, 0, 0, 0),  # EBADF
    "io_uring_register": (_NO_DESCRIPTOR, 0, 0, 0),  # EBADF
    "keyctl": (_ALL_BITS,),  # EOPNOTSUPP
    "add_key": (0, 0, 0, 0, 0),  # EFAULT
    "request_key": (0, 0, 0, 0),  # EFAULT
    "userfaultfd": (_ALL_BITS,),  # EINVAL
    "name_to_handle_at": (_AT_FDCWD, 0, 0, 0, _ALL_BITS),  # EINVAL
    "open_by_handle_at": (_NO_DESCRIPTOR, 0, 0),  # EPERM
    "memfd_create": (0, 0),  # EFAULT
    "memfd_secret": (_ALL_BITS,),  # EINVAL
    "execveat": (_NO_DESCRIPTOR, 0, 0, 0, _ALL_BITS),  # EINVAL
    "finit_module": (_NO_DESCRIPTOR, 0, _ALL_BITS),  # EPERM
    "fanotify_init": (_ALL_BITS, 0),  # EINVAL or EPERM
    "personality": (0xFFFFFFFF,),  # the present one; changes nothing
}


def seccomp_active() -> Gate:
    """Two filters on system calls are in force: the runtime's, and the one that the component laid over it.

    Kernels before 5.9, and gVisor, do not tell how many there are.
    """
    fields = status()
    return filters_gate(fields.get("Seccomp", "unknown"), fields.get("Seccomp_filters", ""), "read the mode from /proc")


def filters_gate(mode: str, filters: str, tried: str) -> Gate:
    """`seccomp-active`, from a process's status.

    Args:
        mode: What stands at `Seccomp`.
        filters: What stands at `Seccomp_filters`; empty where the kernel does not count.
        tried: Who looked, and how.
    """
    enough = int(filters or LEAST_FILTERS) >= LEAST_FILTERS
    return Gate(
        name="seccomp-active",
        tried=tried,
        found=f"mode {mode}, {filters or 'unknown'} filters",
        held=mode == _FILTERED and enough,
    )


def forbidden_calls_refused() -> Gate:
    """New namespaces and the calls that open the kernel's rarely trodden paths are refused."""
    answers = {f"unshare {name}": calling("unshare", flag | _NO_FLAG_OF_UNSHARE) for name, flag in _NAMESPACES.items()}
    answers |= {f"clone {name}": calling("clone", flag | _CLONE_SIGHAND) for name, flag in _NAMESPACES.items()}
    answers |= {name: calling(name, *arguments) for name, arguments in _CALLS.items()}
    passed = [f"{name} {answer}" for name, answer in answers.items() if answer not in REFUSALS]
    return Gate(
        name="forbidden-calls-refused",
        tried=f"make {len(answers)} system calls",
        found=f"{len(answers) - len(passed)} refused" + (f", passed: {', '.join(passed[:8])}" if passed else ""),
        held=known_machine() and not passed,
    )
