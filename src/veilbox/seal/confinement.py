"""Gates of level 4: the filter on system calls, tried call by call.

Each attempt has arguments that the kernel's own code rejects before it does anything, with an errno other than
those of a filter: an answer like EINVAL, EBADF or EFAULT means that the call got through. So the probe changes
nothing where nothing is sealed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from veilbox.core.isolation import Gate
from veilbox.seal.allowlist.numbers import NUMBERS as ALLOWED_NUMBERS
from veilbox.seal.outcome import REFUSALS
from veilbox.seal.own_walls import laid
from veilbox.seal.privilege import status
from veilbox.seal.syscalls import calling, known_machine, raw_call

_FILTERED = "2"  # linux/seccomp.h SECCOMP_MODE_FILTER
# The runtime's, and the component's own.
LEAST_FILTERS = 2

# The design's bound for level 4.
MOST_ALLOWED_CALLS = 130
# Linux 6.18 has 470; the gap up to 423 of x86_64 answers ENOSYS.
_KNOWN_CALLS = 480
_COLUMNS: Mapping[str, int] = {"x86_64": 0, "aarch64": 1}
# fork, vfork, pause, vhangup, sync, rt_sigreturn, exit and the like, which ask for no argument that could be wrong.
# x86_64: 15 rt_sigreturn, 34 pause, 57 fork, 58 vfork, 60 exit, 112 setsid, 153 vhangup, 162 sync, 231 exit_group; 335
# uprobe and 336 uretprobe, which newer kernels let through every filter, and which end a process that is not traced.
# aarch64: 58 vhangup, 81 sync, 93 exit, 94 exit_group, 139 rt_sigreturn, 157 setsid.
_WHATEVER_ARGUMENTS = ((15, 34, 57, 58, 60, 112, 153, 162, 231, 335, 336), (58, 81, 93, 94, 139, 157))

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


def allowed_calls_few() -> Gate:
    """Few of the kernel's system calls are allowed, counted by trying all but those of the component's own list.

    A filter that lets one pass is asked for it with arguments that no call takes: no address, no descriptor. What
    makes a process or waits whatever its arguments are counts as allowed untried. Only a process that laid its own
    filter tries: elsewhere some of the calls would do what they are for.
    """
    mine = laid()
    column = _COLUMNS.get(os.uname().machine)
    if mine is None or not mine.filtered or column is None:
        return Gate(name="allowed-calls-few", tried="nothing", found="unknown: no filter of its own", held=False)
    listed = {number for name in mine.allowed if (number := ALLOWED_NUMBERS[name][column]) is not None}
    untried = set(_WHATEVER_ARGUMENTS[column])
    others = set(range(_KNOWN_CALLS)) - listed - untried
    passed = sum(raw_call(number, *[-1] * 6) not in REFUSALS for number in sorted(others))
    allowed = len(listed) + len(untried - listed) + passed
    return Gate(
        name="allowed-calls-few",
        tried=f"make {len(others)} system calls beside the {len(listed)} of the list",
        found=f"{allowed} at most are allowed, {passed} of them beyond the list",
        held=allowed <= MOST_ALLOWED_CALLS,
    )
