"""Files, devices, other processes and memory: what the mounts, Landlock and the ids must keep closed."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import resource
import stat
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from hostile.attempt import ABSENT, ALLOWED, READ_ONLY, REFUSED, Attempt, Ground, libc, opened, system_call, word

_PAGE = 4096
_RW, _RX = mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_EXEC
_FOLDERS = ("/", "/usr", "/usr/bin", "/usr/lib", "/etc", "/var", "/var/lib", "/run", "/tmp", "/dev", "/dev/shm",
            "/proc", "/rings", "/canary", "/models", "/home", "/root", "/opt", "/mnt", "/srv")  # fmt: skip
_LEVERS = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/randomize_va_space", "/proc/sys/kernel/yama/ptrace_scope", "/proc/sys/vm/drop_caches",
    "/proc/sys/vm/panic_on_oom", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/fs/suid_dumpable", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/bus/pci/00/00.0",
    "/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/power/state",
)  # fmt: skip
_OWN_LEVERS = ("uid_map", "gid_map", "setgroups", "oom_score_adj", "loginuid", "attr/current", "mem", "clear_refs",
               "timerslack_ns", "coredump_filter", "autogroup", "comm")  # fmt: skip
_DEVICES = ("mem", "kmem", "port", "kmsg", "kvm", "fuse", "sda", "vda", "nvme0n1", "loop0", "loop-control", "ptmx",
            "net/tun", "vfio/vfio", "dri/card0", "snd/timer", "input/event0", "uinput", "vhost-net", "tty", "tty0",
            "console", "mapper/control", "btrfs-control", "cuse", "userfaultfd", "hwrng", "rtc0")  # fmt: skip
_LEAKS = ("/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/timer_list", "/proc/sched_debug", "/proc/interrupts",
          "/proc/kpageflags", "/proc/kpagecount", "/proc/vmallocinfo", "/proc/slabinfo", "/proc/vmcore",
          "/proc/latency_stats", "/proc/scsi/scsi", "/sys/firmware/dmi/tables/DMI", "/sys/kernel/vmcoreinfo",
          "/sys/kernel/debug/tracing/trace", "/sys/class/dmi/id/product_uuid", "/sys/fs/cgroup/cgroup.procs",
          "/var/lib/kubelet/config.yaml", "/var/run/secrets/kubernetes.io/serviceaccount/token",
          "/etc/shadow", "/root/.ssh/id_rsa", "/etc/hostname", "/etc/machine-id")  # fmt: skip
_CGROUP_FILES = ("release_agent", "notify_on_release", "cgroup.procs", "tasks", "memory.max", "memory.limit_in_bytes",
                 "devices.allow")  # fmt: skip
_MOST_PID, _MOST_DESCRIPTOR = 40_000, 1024
_NODES = tuple(os.makedev(major, minor) for major, minor in ((8, 0), (1, 1), (1, 3)))
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_OF_THE_IMAGE = ("/rings/", "/dev/null", "/usr/", "/models/", "/proc/")


def _creating(folder: str) -> str:
    path = f"{folder.rstrip('/')}/.red-team"
    answer = opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    if answer == ALLOWED:
        os.unlink(path)
    return answer


def _made(ground: Ground, way: Callable[[str], object]) -> Iterable[str]:
    """A way of making a name, in the root and in every ring."""
    return {word(partial(way, f"{folder}/.red-team")) for folder in ("", "/dev", "/rings", *ground.own)}


def _node(device: int, path: str) -> None:
    os.mknod(path, stat.S_IFBLK | 0o600, device)


def _writable(folder: str) -> bool:
    return _creating(folder) == ALLOWED


def _others(name: str) -> Iterable[str]:
    mine = {str(os.getpid()), str(os.getppid())}
    listed: list[str] = []
    with suppress(PermissionError):  # a wall too; those of the numbers that are guessed are tried nevertheless
        listed = os.listdir("/proc")
    pids = {str(pid) for pid in range(1, 300)} | {entry for entry in listed if entry.isdecimal()}
    return {opened(f"/proc/{pid}/{name}", os.O_RDONLY) for pid in pids - mine}


def _paths_to(canary: str) -> Iterable[str]:
    """Every way round that could lead to a path of the host."""
    parents = "/.." * 20
    heads = ["", "/proc/self/root", "/proc/self/cwd", "/proc/1/root", "/proc/1/cwd", "/proc/self/task/1/root",
             f"/proc/self/root{parents}", f"/proc/self/cwd{parents}", f"/rings{parents}"]  # fmt: skip
    heads += [f"/proc/self/fd/{number}{parents}" for number in range(16)]
    return {opened(head + canary, os.O_RDONLY) for head in heads}


def _folders_held() -> list[int]:
    held = []
    for number in range(_MOST_DESCRIPTOR):
        with suppress(OSError):
            if stat.S_ISDIR(os.fstat(number).st_mode):
                held.append(number)
    return held


def _leaked_folders(ground: Ground) -> Iterable[str]:
    held = _folders_held()
    for number in held:
        if opened(".." * 8 + ground.canary, os.O_RDONLY, folder=number) == ALLOWED:
            return ["the host's tree"]
    return ["folder open"] if held else ["none"]


def _leaked_files(_: Ground) -> Iterable[str]:
    """Beyond the streams and edges no descriptor was left open: none of a file that is not of the image or a ring."""
    found = set()
    for number in range(_MOST_DESCRIPTOR):
        with suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{number}")
            if target.startswith("/") and not target.startswith(
                ("/rings/", "/dev/null", "/usr/", "/models/", "/proc/")
            ):
                found.add(target)
    return found or {"none"}


def _runtime(_: Ground) -> Iterable[str]:
    """CVE-2019-5736: the runtime's own program, held open while it enters, is written from inside."""
    paths = ["/proc/self/exe", "/proc/1/exe", *(f"/proc/self/fd/{number}" for number in range(3, 16))]
    return {opened(path, os.O_WRONLY) for path in paths}


def _signals(_: Ground) -> Iterable[str]:
    mine = {os.getpid()}
    targets = [pid for pid in range(2, _MOST_PID) if pid not in mine]
    return {word(partial(os.kill, pid, 0)) for pid in (-1, *targets[::7])}


def _owned(_: Ground) -> Iterable[str]:
    """Have the kernel send SIGIO, or another signal, for a descriptor to a foreign process."""
    return {word(partial(fcntl.fcntl, 0, fcntl.F_SETOWN, pid)) for pid in (2, 77, 1000, 30_000)}


def _no_write(ground: Ground, path: str, numbers: tuple[int, int], *arguments: int) -> Iterable[str]:
    del ground
    text = ctypes.create_string_buffer(path.encode())
    return [word(lambda: system_call(numbers, ctypes.addressof(text), *arguments))]


def _read_only(ground: Ground) -> list[str]:
    """Files of rings that others write."""
    folders = [folder for folder in ground.own if not _writable(folder)]
    return [f"{folder}/{name}" for folder in folders for name in _names_in(folder)]


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _ring_again(ground: Ground) -> Iterable[str]:
    answers = set()
    for path in _read_only(ground):
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        answers |= {opened(path, os.O_RDWR), opened(f"/proc/self/fd/{number}", os.O_RDWR)}
        answers.add(opened(f"/proc/{os.getpid()}/fd/{number}", os.O_WRONLY))
        answers.add(word(partial(os.ftruncate, number, 0)))
        os.close(number)
    return answers


def _ring_mapped(ground: Ground) -> Iterable[str]:
    answers = set()
    for path in _read_only(ground):
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        answers.add(word(partial(mmap.mmap, number, _PAGE, mmap.MAP_SHARED, _RW)))
        if os.fstat(number).st_size >= _PAGE:
            answers.add(word(partial(_made_writable, number)))
        os.close(number)
    return answers


def _made_writable(number: int) -> None:
    address = _map(number, mmap.PROT_READ, mmap.MAP_SHARED)
    failed = libc.mprotect(ctypes.c_void_p(address), _PAGE, mmap.PROT_READ | mmap.PROT_WRITE)
    if failed:
        raise OSError(ctypes.get_errno(), "mprotect")


def _map(number: int, way: int, flags: int) -> int:
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(None, ctypes.c_size_t(_PAGE), way, flags, number, ctypes.c_long(0))
    if address is None or address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return int(address)


def _ring_names(ground: Ground) -> Iterable[str]:
    answers = set()
    for path in _read_only(ground):
        answers |= {word(partial(os.unlink, path)), word(partial(os.rename, path, f"{path}.old"))}
        answers |= {word(partial(os.chmod, path, 0o666)), word(partial(os.utime, path))}
    return answers


def _foreign_rings(ground: Ground) -> Iterable[str]:
    return {"in sight" for folder in ground.foreign for _ in _names_in(folder)} or {"none"}


def _memory(way: int, then: int | None = None) -> Callable[[Ground], Iterable[str]]:
    def attempt() -> None:
        address = _map(-1, way, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if then is not None and libc.mprotect(ctypes.c_void_p(address), _PAGE, then):
            raise OSError(ctypes.get_errno(), "mprotect")

    return lambda _: [word(attempt)]


def _file_executable(ground: Ground) -> Iterable[str]:
    """Map a file that was written here so that it can be executed."""
    answers = set()
    for folder in ground.own:
        path = f"{folder}/.red-team"
        with suppress(OSError):
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o700)
            os.write(number, bytes(_PAGE))
            way = mmap.PROT_READ | mmap.PROT_EXEC
            answers.add(word(partial(_map, number, way, mmap.MAP_PRIVATE)))
            os.close(number)
            answers.add(word(partial(os.execv, path, [path])))
            os.unlink(path)
    return answers


def _masked(path: str) -> str:
    """`empty` for a mask: a file of no content, or nothing that opens."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return "empty"
    try:
        return "content" if os.read(number, 1) else "empty"
    except OSError:
        return "empty"
    finally:
        os.close(number)


def _physical(_: Ground) -> Iterable[str]:
    """Where own memory lies physically, which helps to flip bits of others (Rowhammer)."""
    page = _map(-1, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    ctypes.memset(page, 1, 1)
    try:
        with open("/proc/self/pagemap", "rb") as file:
            file.seek(page // _PAGE * 8)
            entry = struct.unpack("=Q", file.read(8))[0]
    except OSError:
        return ["hidden"]
    return ["told"] if entry & ((1 << 55) - 1) else ["hidden"]


def _raise(kind: int) -> str:
    soft, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY:
        return "unlimited"
    try:
        resource.setrlimit(kind, (soft, hard + 1))
    except (OSError, ValueError):
        return "EPERM"
    return ALLOWED


def _forking(_: Ground) -> Iterable[str]:
    def fork() -> None:
        if os.fork() == 0:
            os._exit(0)

    return [word(fork)]


def _at(name: str, group: str, what: str, refused: frozenset[str], run: Callable[[Ground], Iterable[str]]) -> Attempt:
    return Attempt(id=name, group=group, what=what, refused=refused, run=run)


_EMPTY, _NOTHING = frozenset({"empty"}), frozenset({"none"})
_NOBODY = REFUSED | {"ESRCH"}

ATTEMPTS = (
    _at("files-everywhere", "writes", f"make a file in {len(_FOLDERS)} folders", ABSENT,
        lambda _: {_creating(folder) for folder in _FOLDERS}),
    _at("own-code", "writes", "open the program's own files for writing", READ_ONLY,
        lambda _: {opened(os.__file__, os.O_WRONLY), opened(__file__, os.O_WRONLY)}),
    _at("folder-made", "writes", "make a folder in the root and the rings", ABSENT,
        lambda ground: _made(ground, os.mkdir)),
    _at("symbolic-link", "writes", "make a symbolic link to the host's root in the root and the rings", ABSENT,
        lambda ground: _made(ground, lambda path: os.symlink("/proc/1/root/../../..", path))),
    _at("hard-link", "writes", "link a file of the image into the root and the rings", ABSENT,
        lambda ground: _made(ground, lambda path: os.link("/etc/passwd", path))),
    _at("named-pipe", "writes", "make a named pipe in the root and the rings", ABSENT,
        lambda ground: _made(ground, os.mkfifo)),
    _at("truncate-a-file", "writes", "cut the image's /etc/passwd", READ_ONLY,
        lambda ground: _no_write(ground, "/etc/passwd", (76, 45), 0)),
    _at("set-uid-program", "set-uid", "give the interpreter the set-uid bit", READ_ONLY,
        lambda _: [word(lambda: os.chmod("/usr/bin/python3", 0o4755))]),
    _at("become-root", "set-uid", "become user 0, group 0, another user", REFUSED | {"EINVAL"},
        lambda _: {word(lambda: os.setuid(0)), word(lambda: os.setresuid(0, 0, 0)), word(lambda: os.setgid(0)),
                   word(lambda: os.setresuid(1000, 1000, 1000)), word(lambda: os.setgroups([0]))}),
    _at("raise-capability", "capabilities", "raise an ambient capability, change secure bits", REFUSED | {"EINVAL"},
        lambda _: {word(lambda: _prctl(47, 2, 21)), word(lambda: _prctl(28, 0x20, 0))}),
    _at("allow-new-privileges", "capabilities", "take no-new-privileges back", REFUSED | {"EINVAL"},
        lambda _: [word(lambda: _prctl(38, 0, 0))]),
    _at("make-a-device", "devices", "make a disk, memory and null device", ABSENT,
        lambda ground: {answer for device in _NODES for answer in
                        _made(ground, partial(_node, device))}),
    _at("open-a-device", "devices", f"open {len(_DEVICES)} devices", ABSENT,
        lambda _: {opened(f"/dev/{name}", os.O_RDONLY) for name in _DEVICES}),
    _at("type-into-terminal", "devices", "type into the terminal, ask the console for its selection",
        REFUSED | {"ENOTTY", "EBADF"},
        lambda _: {word(partial(fcntl.ioctl, n, request, b"\0")) for n in (0, 1, 2)
                   for request in (_TIOCSTI, _TIOCLINUX)}),
    _at("kernel-settings", "/proc and /sys", f"open {len(_LEVERS)} settings of the kernel for writing", ABSENT,
        lambda _: {opened(path, os.O_WRONLY) for path in _LEVERS}),
    _at("own-settings", "/proc and /sys", f"open {len(_OWN_LEVERS)} files of /proc/self for writing, mem among them",
        ABSENT, lambda _: {opened(f"/proc/self/{name}", os.O_WRONLY) for name in _OWN_LEVERS}),
    _at("secrets-of-the-host", "/proc and /sys", f"read {len(_LEAKS)} files that tell of the host", _EMPTY,
        lambda _: {_masked(path) for path in _LEAKS}),
    _at("physical-addresses", "/proc and /sys", "ask where own memory lies physically", frozenset({"hidden"}),
        _physical),
    _at("control-groups", "control groups", "open release_agent and other files of control groups for writing", ABSENT,
        lambda _: {opened(f"{place}/{name}", os.O_WRONLY) for name in _CGROUP_FILES
                   for place in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/devices", "/cgroup")}),
    _at("signal-everybody", "signals", "signal 0 to everybody and every seventh process id up to 40,000", _NOBODY,
        _signals),
    _at("signal-by-descriptor", "signals", "have the kernel signal others for a descriptor", _NOBODY, _owned),
    _at("memory-of-others", "other processes", "open the memory of every other process", ABSENT,
        lambda _: _others("mem")),
    _at("descriptors-of-others", "other processes", "open the descriptors and roots of every other process", ABSENT,
        lambda _: {*_others("fd/0"), *_others("root/etc/passwd"), *_others("cwd")}),
    _at("host-path-around", "host paths", "read the host's canary by 25 ways round", ABSENT,
        lambda ground: _paths_to(ground.canary)),
    _at("open-folders", "host paths", f"look for folders left open among {_MOST_DESCRIPTOR} descriptors", _NOTHING,
        _leaked_folders),
    _at("open-files", "host paths", "look for files left open that are none of the image's or the rings'", _NOTHING,
        _leaked_files),
    _at("overwrite-the-runtime", "host paths", "open the own program and every descriptor for writing through /proc",
        ABSENT | {"ETXTBSY"}, _runtime),
    _at("other-rings", "rings", "look into the rings of other edges", _NOTHING, _foreign_rings),
    _at("write-a-read-only-ring", "rings", "open a ring that others write for writing, also through /proc, cut it",
        READ_ONLY | {"EINVAL", "EBADF"}, _ring_again),
    _at("map-a-read-only-ring", "rings", "map such a ring writable, or make its mapping writable", READ_ONLY,
        _ring_mapped),
    _at("rename-a-read-only-ring", "rings", "remove, rename and mark such a ring", READ_ONLY, _ring_names),
    _at("write-and-execute", "memory", "map memory writable and executable", REFUSED,
        _memory(_RW | mmap.PROT_EXEC)),
    _at("execute-written", "memory", "make written memory executable", REFUSED, _memory(_RW, _RX)),
    _at("execute-readable", "memory", "make readable memory executable", REFUSED, _memory(mmap.PROT_READ, _RX)),
    _at("execute-own-file", "memory", "map and run a file written to a ring", REFUSED, _file_executable),
    _at("run-nothing", "programs", "run a program without a name", REFUSED | {"ENOENT"},
        lambda _: [word(lambda: os.execv("", ["x"]))]),  # noqa: S606
    _at("make-a-process", "programs", "fork", REFUSED, _forking),
    _at("raise-limits", "resources", "raise four limits", frozenset({"EPERM"}),
        lambda _: {_raise(kind) for kind in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE, resource.RLIMIT_MEMLOCK,
                                             resource.RLIMIT_MSGQUEUE)}),
    _at("core-file", "resources", "become dumpable again", REFUSED | {"EINVAL"},
        lambda _: [word(lambda: _prctl(4, 2, 0))]),
)  # fmt: skip


def _prctl(option: int, first: int, second: int) -> None:
    zero = ctypes.c_ulong(0)
    if libc.prctl(option, ctypes.c_ulong(first), ctypes.c_ulong(second), zero, zero):
        raise OSError(ctypes.get_errno(), "prctl")
