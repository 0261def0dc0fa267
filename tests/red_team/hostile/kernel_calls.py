"""System calls that could lead out of a container or into rarely trodden paths of the kernel.

Arguments are such that nothing happens where a call gets through: the kernel's own code answers with another errno than
those of a wall, or the call changes nothing.
Source of numbers: Linux 6.1, arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

from collections.abc import Iterable

from hostile.attempt import REFUSED, Attempt, Ground, system_call, word

_NAMESPACES = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
}
_SIGHAND = 0x800  # without CLONE_VM: EINVAL, whatever else is asked
_BITS, _NONE, _HERE = 0x7FFFFFFF, -1, -100

# (id, group, numbers on x86_64 and aarch64, arguments)
_CALLS: tuple[tuple[str, str, tuple[int, int], tuple[int, ...]], ...] = (
    *((f"unshare-{name}", "namespaces", (272, 97), (flag | 1,)) for name, flag in _NAMESPACES.items()),
    *((f"clone-{name}", "namespaces", (56, 220), (flag | _SIGHAND,)) for name, flag in _NAMESPACES.items()),
    ("clone3", "namespaces", (435, 435), (0, 0)),
    ("setns", "namespaces", (308, 268), (_NONE, 0)),
    ("mount", "mounts", (165, 40), (0, 0, 0, 0, 0)),
    ("umount", "mounts", (166, 39), (0, _BITS)),
    ("pivot-root", "mounts", (155, 41), (0, 0)),
    ("chroot", "mounts", (161, 51), (0,)),
    ("open-tree", "mounts", (428, 428), (_HERE, 0, 0)),
    ("move-mount", "mounts", (429, 429), (_NONE, 0, _NONE, 0, _BITS)),
    ("mount-setattr", "mounts", (442, 442), (_NONE, 0, _BITS, 0, 0)),
    ("fsopen", "mounts", (430, 430), (0, _BITS)),
    ("fspick", "mounts", (433, 433), (_HERE, 0, _BITS)),
    ("capset", "capabilities", (126, 91), (0, 0)),
    ("ptrace-attach", "other processes", (101, 117), (16, 0, 0, 0)),
    ("process-vm-readv", "other processes", (310, 270), (0, 0, 0, 0, 0, 1)),
    ("process-vm-writev", "other processes", (311, 271), (0, 0, 0, 0, 0, 1)),
    ("process-madvise", "other processes", (440, 440), (_NONE, 0, 0, 0, _BITS)),
    ("pidfd-open", "other processes", (434, 434), (0, _BITS)),
    ("pidfd-getfd", "other processes", (438, 438), (_NONE, _NONE, 0)),
    ("pidfd-send-signal", "other processes", (424, 424), (_NONE, 0, 0, _BITS)),
    ("kcmp", "other processes", (312, 272), (0, 0, 0, 0, 0)),
    ("migrate-pages", "other processes", (256, 238), (0, 0, 0, 0)),
    ("move-pages", "other processes", (279, 239), (0, 0, 0, 0, 0, _BITS)),
    ("rt-sigqueueinfo", "signals", (129, 138), (0, 0, 0)),
    ("rt-tgsigqueueinfo", "signals", (297, 240), (0, 0, 0, 0)),
    ("kill", "signals", (62, 129), (0, _BITS)),
    ("tkill", "signals", (200, 130), (0, 0)),
    ("keyctl", "keyrings", (250, 219), (_BITS,)),
    ("add-key", "keyrings", (248, 217), (0, 0, 0, 0, 0)),
    ("request-key", "keyrings", (249, 218), (0, 0, 0, 0)),
    ("bpf", "kernel surfaces", (321, 280), (0, 0, 0)),
    ("perf-event-open", "kernel surfaces", (298, 241), (0, 0, _NONE, _NONE, 0)),
    ("userfaultfd", "kernel surfaces", (323, 282), (_BITS,)),
    ("io-uring-setup", "kernel surfaces", (425, 425), (0, 0)),
    ("io-uring-enter", "kernel surfaces", (426, 426), (_NONE, 0, 0, 0, 0, 0)),
    ("io-uring-register", "kernel surfaces", (427, 427), (_NONE, 0, 0, 0)),
    ("fanotify-init", "kernel surfaces", (300, 262), (_BITS, 0)),
    ("modify-ldt", "kernel surfaces", (154, -1), (0x99, 0, 0)),
    ("vmsplice", "kernel surfaces", (278, 75), (_NONE, 0, 0, 0)),
    ("splice", "kernel surfaces", (275, 76), (_NONE, 0, _NONE, 0, 0, _BITS)),
    ("shmget", "shared memory", (29, 194), (0, 0, 0)),
    ("semget", "shared memory", (64, 190), (0, _NONE, 0)),
    ("msgget", "shared memory", (68, 186), (0x7EED, 0)),
    ("mq-open", "shared memory", (240, 180), (0, 0, 0, 0)),
    ("name-to-handle-at", "files by handle", (303, 264), (_HERE, 0, 0, 0, _BITS)),
    ("open-by-handle-at", "files by handle", (304, 265), (_NONE, 0, 0)),
    ("memfd-create", "programs", (319, 279), (0, 0)),
    ("memfd-secret", "programs", (447, 447), (_BITS,)),
    ("execveat", "programs", (322, 281), (_NONE, 0, 0, 0, _BITS)),
    ("uselib", "programs", (134, -1), (0,)),
    ("init-module", "the machine", (175, 105), (0, 0, 0)),
    ("finit-module", "the machine", (313, 273), (_NONE, 0, _BITS)),
    ("delete-module", "the machine", (176, 106), (0, 0)),
    ("kexec-load", "the machine", (246, 104), (0, _BITS, 0, _BITS)),
    ("kexec-file-load", "the machine", (320, 294), (_NONE, _NONE, 0, 0, _BITS)),
    ("reboot", "the machine", (169, 142), (1, 2, 3, 0)),
    ("clock-settime", "the machine", (227, 112), (1, 0)),
    ("settimeofday", "the machine", (164, 170), (1, 0)),
    ("adjtimex", "the machine", (159, 171), (0,)),
    ("sethostname", "the machine", (170, 161), (0, _NONE)),
    ("setdomainname", "the machine", (171, 162), (0, _NONE)),
    ("swapon", "the machine", (167, 224), (0, _BITS)),
    ("swapoff", "the machine", (168, 225), (0,)),
    ("quotactl", "the machine", (179, 60), (_BITS, 0, 0, 0)),
    ("acct", "the machine", (163, 89), (1,)),
    ("syslog", "kernel log", (103, 116), (10, 0, 0)),
    ("lookup-dcookie", "the machine", (212, 18), (0, 0, 0)),
    ("iopl", "devices", (172, -1), (3,)),
    ("ioperm", "devices", (173, -1), (0, 1, 1)),
    ("sched-setscheduler", "resources", (144, 119), (0, 1, 0)),
    ("setpriority", "resources", (141, 140), (0, 0, -20)),
    ("ioprio-set", "resources", (251, 30), (1, 0, 1 << 13)),
    ("personality-exec-readable", "memory", (135, 92), (0x0400000,)),
    ("pkey-mprotect", "memory", (329, 288), (1, 0, 0, _NONE)),
    ("remap-file-pages", "memory", (216, 234), (1, 0, 1, 0, 0)),
    ("shmat", "memory", (30, 196), (_NONE, 0, 0)),
    ("seccomp-listener", "filters", (317, 277), (1, _BITS, 0)),
)


def _one(name: str, group: str, numbers: tuple[int, int], arguments: tuple[int, ...]) -> Attempt:
    def run(_: Ground) -> Iterable[str]:
        return [word(lambda: system_call(numbers, *arguments))]

    return Attempt(id=name, group=group, what=f"call {name}", refused=REFUSED, run=run)


ATTEMPTS = tuple(_one(*row) for row in _CALLS)
