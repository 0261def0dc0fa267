"""Findings beside the scale's gates: more paths, tried for real.

As in the probe, each is an attempt that leaves nothing behind. `veilbox.core.isolation.DEEP` says which level each
caps.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import socket
import stat
import struct
from collections.abc import Callable, Mapping

from veilbox.core.isolation import Gate
from veilbox.seal.egress import NO_WAY_OUT, connecting
from veilbox.seal.kernel import kernel_identity
from veilbox.seal.mounts import mounts
from veilbox.seal.outcome import ALLOWED, REFUSALS, opening, outcome
from veilbox.seal.own_walls import laid
from veilbox.seal.syscalls import call, known_machine, raw_call

# Engines' and the service manager's sockets: whoever may talk to one starts programs on the host.
_SOCKETS = (
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/podman/podman.sock",
    "/run/buildkit/buildkitd.sock",
    "/run/systemd/private",
    "/run/dbus/system_bus_socket",
    "/run/snapd.socket",
    "/var/lib/kubelet/device-plugins/kubelet.sock",
)
_SETTINGS = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/ping_group_range",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
    "/proc/scsi/scsi",
)
# Content that tells addresses, keys, timers or other containers; a mask shows an empty file or folder. Not /proc/kmsg,
# which reading would empty: that it does not open is a gate of the scale.
_PROC_LEAKS = (
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/pagetypeinfo",
    "/proc/sched_debug",
    "/proc/scsi/scsi",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/proc/vmcore",
)
# These are readable for everybody; the kernel shows zeros instead of addresses to who may not see them.
_ADDRESSES = ("/proc/kallsyms", "/proc/iomem", "/proc/modules")
_GROUPS = "/proc/self/cgroup"
_SYS_LEAKS = (
    "/sys/class/dmi/id",
    "/sys/class/net",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/cgroup",
    "/sys/kernel/debug",
    "/sys/kernel/notes",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
    "/sys/kernel/vmcoreinfo",
    "/sys/module",
)
_CGROUP_FILES = ("cgroup.procs", "tasks", "release_agent", "notify_on_release", "memory.max", "memory.limit_in_bytes")

# Link-local of IPv4 and IPv6, everybody on the wire, a multicast group: none needs a route to be tried.
_NEAR = (
    (socket.AF_INET, ("169.254.1.1", 80)),
    (socket.AF_INET, ("255.255.255.255", 9)),
    (socket.AF_INET, ("224.0.0.251", 5353)),
    (socket.AF_INET6, ("fe80::1", 80)),
    (socket.AF_INET6, ("ff02::1", 9)),
)
_SECRET_WORDS = ("SECRET", "TOKEN", "PASSWORD", "PASSWD", "CREDENTIAL", "PRIVATE_KEY", "_PROXY")
_TIOCSTI = 0x5412  # asm-generic/ioctls.h
_PAGE = 4096
_SAMPLE = 4096
_MOST_DESCRIPTORS = 1024

# asm-generic; arguments that do what they say. Source: man-pages 6.9.
_KEYCTL_GET_KEYRING_ID, _SESSION_KEYRING, _PROCESS_KEYRING = 0, -3, -2
_BPF_MAP_CREATE, _BPF_ATTR_BYTES = 0, 128
_PERF_ATTR_BYTES, _PERF_SOFTWARE = 128, 1
_UFFD_USER_MODE_ONLY = 1
_IO_URING_PARAMS_BYTES = 120
_MFD_CLOEXEC = 1
# struct flock; F_OFD_GETLK, F_OFD_SETLK of asm-generic/fcntl.h: locks of the open file, as in fcntl(2).
_LOCK, _OFD_GETLK, _OFD_SETLK = "hhqqi4x", 36, 37
# Beside the probe's table, whose calls the tests refuse as a whole: no program runs without this one.
_FUTEX: Mapping[str, int] = {"x86_64": 202, "aarch64": 98}
_FUTEX_WAKE = 1


def attempts() -> Mapping[str, Callable[[], Gate]]:
    """Every finding's attempt by its name, in the order of `DEEP`."""
    return {
        "runtime-sockets-absent": runtime_sockets_absent,
        "descriptors-closed": descriptors_closed,
        "environment-clean": environment_clean,
        "near-addresses": near_addresses,
        "abstract-names-absent": abstract_names_absent,
        "shared-files-mute": shared_files_mute,
        "proc-leaks-absent": proc_leaks_absent,
        "sys-leaks-absent": sys_leaks_absent,
        "kernel-settings-read-only": kernel_settings_read_only,
        "cgroup-read-only": cgroup_read_only,
        "keyrings-refused": keyrings_refused,
        "kernel-surfaces-refused": kernel_surfaces_refused,
        "terminal-absent": terminal_absent,
        "core-dumps-off": core_dumps_off,
        "memory-not-executable": memory_not_executable,
        "own-walls": own_walls,
        "kernel-identity": kernel_identity,
    }


def runtime_sockets_absent() -> Gate:
    """No socket of a container engine or service manager is there, let alone answers."""
    there = [path for path in _SOCKETS if os.path.lexists(path)]
    answers = {connecting(socket.AF_UNIX, socket.SOCK_STREAM, path) for path in _SOCKETS}
    return Gate(
        name="runtime-sockets-absent",
        tried=f"look for and connect to {len(_SOCKETS)} sockets of engines",
        found=f"connect {', '.join(sorted(answers))}" + (f", there: {' '.join(there)}" if there else ", none there"),
        held=not there and ALLOWED not in answers,
    )


def descriptors_closed() -> Gate:
    """No folder was left open, from which the host's tree could be walked, and the working directory is the root."""
    folders = [number for number in range(_MOST_DESCRIPTORS) if _is_folder(number)]
    here = os.getcwd()  # noqa: PTH109 - pathlib is an import that the probe can do without
    return Gate(
        name="descriptors-closed",
        tried=f"look at {_MOST_DESCRIPTORS} descriptors and the working directory",
        found=f"{len(folders)} folders open, working directory {here}",
        held=not folders and here == "/",
    )


def _is_folder(descriptor: int) -> bool:
    try:
        return stat.S_ISDIR(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def environment_clean() -> Gate:
    """No variable's name speaks of a secret or a proxy; values are neither read nor told."""
    names = sorted(name for name in os.environ if any(word in name.upper() for word in _SECRET_WORDS))
    return Gate(
        name="environment-clean",
        tried=f"read the names of {len(os.environ)} variables",
        found=", ".join(names[:8]) or "none of a secret",
        held=not names,
    )


def near_addresses() -> Gate:
    """Nothing can be sent to link-local, broadcast or multicast addresses."""
    answers = {connecting(family, socket.SOCK_DGRAM, address) for family, address in _NEAR}
    return Gate(
        name="near-addresses",
        tried="connect to link-local, broadcast and multicast addresses",
        found=", ".join(sorted(answers)),
        held=answers <= NO_WAY_OUT | {"EINVAL"},  # a link-local address without a link
    )


def abstract_names_absent() -> Gate:
    """No Unix socket with a name is visible from this network namespace."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        names = [words[7] for line in file.readlines()[1:] if len(words := line.split()) > 7]
    return Gate(
        name="abstract-names-absent",
        tried="list the named Unix sockets",
        found=f"{len(names)}",
        held=not names,
    )


def shared_files_mute() -> Gate:
    """Nothing can be told through a file that others have open too: by a lock on it, or by waking who waits there."""
    unlock = struct.pack(_LOCK, fcntl.F_UNLCK, os.SEEK_SET, 0, 1, 0)
    answers = {
        "lock": outcome(lambda: fcntl.fcntl(0, _OFD_SETLK, unlock)),
        "ask": outcome(lambda: fcntl.fcntl(0, _OFD_GETLK, struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))),
        "wake": _waking(),
    }
    tried = "lock a byte of an open file, ask who has locked it, wake who waits beyond this process"
    return _refused("shared-files-mute", tried, answers)


def _waking() -> str:
    """The outcome of waking, in whatever process, who waits at a word where nobody does."""
    machine = os.uname().machine
    if machine not in _FUTEX:
        return "unknown"
    word = ctypes.c_uint32(0)
    return raw_call(_FUTEX[machine], ctypes.addressof(word), _FUTEX_WAKE, 1)


def _shows(path: str) -> bool:
    """Whether a file has content or a folder entries."""
    try:
        if os.path.isdir(path):  # noqa: PTH112
            return bool(os.listdir(path))  # noqa: PTH208
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return bool(os.read(descriptor, 1))
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _tells_addresses(path: str) -> bool:
    """Whether a list of kernel addresses has one other than zero, in its first lines."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            lines = file.read(_SAMPLE).splitlines()[:8]
    except OSError:
        return False
    words = [word for line in lines for word in line.replace(b"-", b" ").split() if len(word) >= 8]
    numbers = [word.removeprefix(b"0x") for word in words if set(word) <= set(b"0123456789abcdefx")]
    return any(word.strip(b"0") for word in numbers)


def proc_leaks_absent() -> Gate:
    """/proc tells neither kernel addresses nor keys nor what other containers do."""
    shown = [path for path in _PROC_LEAKS if _shows(path)] + [path for path in _ADDRESSES if _tells_addresses(path)]
    shown += [_GROUPS] if _tells_groups() else []
    return _none_of("proc-leaks-absent", f"read {len(_PROC_LEAKS) + len(_ADDRESSES) + 1} files of /proc", shown)


def _tells_groups() -> bool:
    """Whether a control group has a path, which names the job: a namespace of its own makes every one the root."""
    try:
        with open(_GROUPS, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return any(line.rstrip("\n").split(":", 2)[2] != "/" for line in file)
    except (OSError, IndexError):
        return False


def sys_leaks_absent() -> Gate:
    """/sys tells nothing of hardware, firmware, modules or control groups."""
    shown = [path for path in _SYS_LEAKS if _shows(path)]
    return _none_of("sys-leaks-absent", f"read {len(_SYS_LEAKS)} places of /sys", shown)


def kernel_settings_read_only() -> Gate:
    """No setting of the kernel opens for writing."""
    opened = [path for path in _SETTINGS if opening(path, os.O_WRONLY) == ALLOWED]
    return _none_of("kernel-settings-read-only", f"open {len(_SETTINGS)} kernel settings for writing", opened)


def cgroup_read_only() -> Gate:
    """No control group's file opens for writing, wherever one is mounted."""
    points = {point for point, mount in mounts().items() if mount.kind in {"cgroup", "cgroup2"}} | {"/sys/fs/cgroup"}
    paths = [f"{point}/{name}" for point in sorted(points) for name in _CGROUP_FILES]
    opened = [path for path in paths if opening(path, os.O_WRONLY) == ALLOWED]
    return _none_of("cgroup-read-only", f"open {len(paths)} files of control groups for writing", opened)


def _none_of(name: str, tried: str, failed: list[str]) -> Gate:
    return Gate(name=name, tried=tried, found=f"open: {' '.join(failed[:8])}" if failed else "none", held=not failed)


def keyrings_refused() -> Gate:
    """The kernel's keyrings, which no namespace parts from the host's, cannot be asked for."""
    answers = {
        "session": outcome(lambda: call("keyctl", _KEYCTL_GET_KEYRING_ID, _SESSION_KEYRING, 0)),
        "process": outcome(lambda: call("keyctl", _KEYCTL_GET_KEYRING_ID, _PROCESS_KEYRING, 0)),
    }
    return _refused("keyrings-refused", "ask for the session's and the process's keyring", answers)


def kernel_surfaces_refused() -> Gate:
    """bpf, perf, userfaultfd, io_uring and memory files, each with arguments with which it would work."""
    bpf = _buffer(struct.pack("=IIII", 2, 4, 4, 1), _BPF_ATTR_BYTES)  # an array of one
    perf = _buffer(struct.pack("=IIQ", _PERF_SOFTWARE, _PERF_ATTR_BYTES, 0), _PERF_ATTR_BYTES)  # the processor's clock
    ring = _buffer(b"", _IO_URING_PARAMS_BYTES)
    name = _buffer(b"p", 2)
    answers = {
        "bpf": _descriptor("bpf", _BPF_MAP_CREATE, ctypes.addressof(bpf), _BPF_ATTR_BYTES),
        "perf": _descriptor("perf_event_open", ctypes.addressof(perf), 0, -1, -1, 0),
        "userfaultfd": _descriptor("userfaultfd", os.O_CLOEXEC | os.O_NONBLOCK | _UFFD_USER_MODE_ONLY),
        "io_uring": _descriptor("io_uring_setup", 1, ctypes.addressof(ring)),
        "memfd": _descriptor("memfd_create", ctypes.addressof(name), _MFD_CLOEXEC),
    }
    return _refused("kernel-surfaces-refused", "open bpf, perf, userfaultfd, io_uring and a memory file", answers)


def _buffer(head: bytes, size: int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(head, size)


def _descriptor(name: str, *arguments: int) -> str:
    """The outcome of a call that gives a descriptor, which is closed at once."""
    return outcome(lambda: os.close(call(name, *arguments)))


def _refused(name: str, tried: str, answers: Mapping[str, str]) -> Gate:
    passed = [f"{what} {answer}" for what, answer in answers.items() if answer not in REFUSALS]
    return Gate(
        name=name,
        tried=tried,
        found=", ".join(f"{what} {answer}" for what, answer in answers.items()),
        held=known_machine() and not passed,
    )


def terminal_absent() -> Gate:
    """There is no terminal, and nothing can be typed into one."""
    terminal = opening("/dev/tty", os.O_RDWR)
    typing = outcome(lambda: fcntl.ioctl(0, _TIOCSTI, b"\0"))
    return Gate(
        name="terminal-absent",
        tried="open /dev/tty, ask to type into the standard input",
        found=f"open {terminal}, type {typing}",
        held=terminal != ALLOWED and typing in REFUSALS,
    )


def core_dumps_off() -> Gate:
    """No core file, which would hold frames, can be written."""
    with open("/proc/self/limits", encoding="ascii", errors="replace") as file:  # noqa: PTH123
        line = next((line for line in file if line.startswith("Max core file size")), "")
    bounds = line.split()[4:6]
    return Gate(
        name="core-dumps-off",
        tried="read the limits of core files",
        found=f"soft and hard {' '.join(bounds) or 'unknown'}",
        held=bounds == ["0", "0"],
    )


def memory_not_executable() -> Gate:
    """Memory cannot be had writable and executable at once, nor made executable after it was written."""
    both = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    at_once = outcome(lambda: mmap.mmap(-1, _PAGE, prot=both).close())
    after = outcome(_execute_written)
    return Gate(
        name="memory-not-executable",
        tried="map memory writable and executable; write memory and make it executable",
        found=f"at once {at_once}, after writing {after}",
        held=ALLOWED not in {at_once, after},
    )


def _execute_written() -> None:
    """Ask through the C library: the number is not in the probe's table, whose calls the tests refuse as a whole."""
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(-1, _PAGE) as memory:
        memory[0] = 0xC3
        place = ctypes.c_char.from_buffer(memory)
        failed = libc.mprotect(ctypes.c_void_p(ctypes.addressof(place)), _PAGE, mmap.PROT_READ | mmap.PROT_EXEC)
        del place
        if failed:
            raise OSError(ctypes.get_errno(), "mprotect")


def own_walls() -> Gate:
    """What the component took from itself by its first instructions: making files elsewhere, and starting programs.

    Nothing but Landlock keeps a process from opening /dev/null for writing; where the kernel has no Landlock that is
    not asked. A program without a name is refused as such (ENOENT) where no filter came before.
    """
    mine = laid()
    writing = opening("/dev/null", os.O_WRONLY)
    starting = outcome(lambda: os.execv("", ["veilbox-probe"]))  # noqa: S606, S607
    return Gate(
        name="own-walls",
        tried="open /dev/null for writing, start a program without a name",
        found=f"open {writing}, start {starting}, "
        + (f"Landlock {mine.landlock or 'absent'}" if mine else "none was laid"),
        held=mine is not None
        and mine.filtered
        and starting in REFUSALS
        and (mine.landlock == 0 or writing == "EACCES"),
    )
