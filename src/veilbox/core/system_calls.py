"""Which system calls pass with some arguments only, and which are to look as if the kernel did not have them.

The container runtime's filter (`veilbox.oci.runtime.seccomp`) and the one that a component lays over it
(`veilbox.seal.second_filter`) are made of the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping

from veilbox.core.frozen import frozen

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

# linux/prctl.h: dying with the supervisor, thread names, the probe's question, and what only takes away: a further
# filter, no core dumps. PR_SET_MM and the like stay refused.
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_GET_NAME = 16
_PR_SET_SECCOMP = 22
_PR_GET_NO_NEW_PRIVS = 39
_SECCOMP_MODE_FILTER = 2  # linux/seccomp.h

_PERSONALITY_QUERY = 0xFFFFFFFF

# linux/fcntl.h: another number for a descriptor, and its flags. Locks stay refused: they lie on the file itself, which
# two containers share where it is a device or a layer of both, and whoever asks for a lock is told where each begins
# and ends, so that one writes what the other reads. So do signals, leases and notifications.
_F_DUPFD = 0
_F_GETFD = 1
_F_SETFD = 2
_F_GETFL = 3
_F_SETFL = 4
_F_DUPFD_CLOEXEC = 1030

# linux/futex.h. Whoever wakes is told how many waited, and places of a file that two containers map are one place to
# the kernel: they would signal each other through a library of a layer that both have. So waking is for one's own
# memory, which is all that locks of a program need; the C library waits for a thread's end without saying so.
_FUTEX_PRIVATE = 0x80
_FUTEX_WAIT = 0
_FUTEX_WAIT_BITSET = 9
_FUTEX_COMMAND = 0xFFFFFFFF & ~(_FUTEX_PRIVATE | 0x100)  # 0x100: FUTEX_CLOCK_REALTIME

# asm-generic/mman-common.h. Memory is written or executed, never both, and nothing that was written becomes executable:
# the loader maps libraries executable from files that cannot be written. No library of ours makes code while it runs;
# the sealed tests, which decode and encode every format, would show it.
_PROT_WRITE = 0x2
_PROT_EXEC = 0x4


@frozen(kw_only=False)
class Argument:
    """A test of one argument, all 64 bits of it.

    Attributes:
        index: Which one, from 0.
        value: What it must be.
        mask: Bits that are looked at; all of them if None.
    """

    index: int
    value: int
    mask: int | None = None


def _second(*values: int) -> tuple[tuple[Argument, ...], ...]:
    return tuple((Argument(1, value),) for value in values)


def _first(*values: int) -> tuple[tuple[Argument, ...], ...]:
    return tuple((Argument(0, value),) for value in values)


# Calls that are allowed with some arguments only: alternatives, of each of which every test must hold.
FILTERED: Mapping[str, tuple[tuple[Argument, ...], ...]] = {
    "socket": _first(_AF_UNIX),
    "socketpair": _first(_AF_UNIX),
    "clone": ((Argument(0, _CLONE_THREAD, _CLONE_NAMESPACES | _CLONE_THREAD),),),
    "fcntl": _second(_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC),
    "futex": (
        (Argument(1, _FUTEX_PRIVATE, _FUTEX_PRIVATE),),
        *((Argument(1, waiting, _FUTEX_COMMAND),) for waiting in (_FUTEX_WAIT, _FUTEX_WAIT_BITSET)),
    ),
    "ioctl": _second(_TCGETS, _FIONREAD, _FIONBIO, _FIONCLEX, _FIOCLEX),
    "prctl": (
        *_first(_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_GET_NAME, _PR_GET_NO_NEW_PRIVS),
        (Argument(0, _PR_SET_DUMPABLE), Argument(1, 0)),
        (Argument(0, _PR_SET_SECCOMP), Argument(1, _SECCOMP_MODE_FILTER)),
    ),
    "personality": _first(_PERSONALITY_QUERY),
    "mmap": tuple((Argument(2, way, _PROT_WRITE | _PROT_EXEC),) for way in (0, _PROT_WRITE, _PROT_EXEC)),
    "mprotect": ((Argument(2, 0, _PROT_EXEC),),),
}

# What the first instructions of a component need and nothing later does: starting it, and laying its own walls.
# The second filter refuses these as a whole,
START_ONLY = frozenset(
    {
        "execve",
        "arch_prctl",
        "set_tid_address",
        "fstatfs",
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
    }
)
# and of these it lets pass less.
FILTERED_AFTER_START: Mapping[str, tuple[tuple[Argument, ...], ...]] = {
    **FILTERED,
    # Flags such as O_DIRECT would hold for everybody who has the same open file, the supervisor too.
    "fcntl": _second(_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC),
    "prctl": _first(_PR_SET_NAME, _PR_GET_NAME, _PR_GET_NO_NEW_PRIVS),
}

# The C library takes an older call instead when these are unknown, but not when they are forbidden. A filter cannot
# see clone3's flags, which lie in memory. Source: glibc 2.36, sysdeps/unix/sysv/linux; Docker's default profile.
UNKNOWN = (
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
NEVER_ALLOWED = frozenset({"clone3", "pkey_mprotect", "remap_file_pages", "shmat"})
