"""Gates of level 1 that can be tried from inside: what of the host and of the other components is in sight."""

from __future__ import annotations

import errno
import os
import stat

from veilbox.core.control import Canaries
from veilbox.core.isolation import Gate
from veilbox.seal.mounts import Mounted, mounts
from veilbox.seal.outcome import ALLOWED, creating, opening, outcome
from veilbox.seal.syscalls import address_of, call, calling

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib is an import the probe can do without
_ROOT_DIRECTORIES = ("/", "/usr", "/etc", "/var", "/run", "/tmp", "/var/tmp", _HERE)  # noqa: S108 - tried, never used

# Files and folders that only the host has, or whose content an image has no business to show.
_HOST_PATHS = (
    "/etc/shadow",
    "/root",
    "/home",
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd",
    "/run/podman",
    "/run/crun",
    "/run/runc",
    "/run/user",
    "/sys/firmware",
    "/sys/kernel/debug",
    "/proc/kmsg",
    "/proc/kcore",
)
# Opening them for writing changes nothing; whoever holds them open can run a program on the host.
_HOST_LEVERS = ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper")

# Source: the default devices of OCI runtime-spec 1.2, config-linux.md, and what runtimes add beside them.
_DEVICES = frozenset({"null", "zero", "full", "random", "urandom", "tty", "ptmx"})
_BESIDE_DEVICES = frozenset({"pts", "shm", "mqueue", "fd", "stdin", "stdout", "stderr", "core"})
_HOST_DEVICES = ("mem", "kmsg", "port", "kvm", "fuse", "net/tun", "sda", "vda", "nvme0n1", "loop0", "mapper/control")

# Where a container's own mounts are. Source: runtime_config and the plans of `veilbox.orchestrate.plan`.
_KERNEL = ("/proc", "/dev", "/sys")
_RINGS = "/rings"
_EMPTY = "/tmp"  # noqa: S108 - compared, never used
# gVisor's kernel always shows the first, whoever may mount; over the second an empty folder is mounted.
_GUEST_DEVICES = frozenset({"fuse", "net"})

_SYSLOG_SIZE_BUFFER = 10  # linux/syslog.h SYSLOG_ACTION_SIZE_BUFFER: reads nothing, needs the right to read
_MS_RDONLY = 1
_MS_REMOUNT_BIND = 32 | 4096  # linux/mount.h MS_REMOUNT | MS_BIND


def own_processes_only() -> Gate:
    """No process but this one in /proc, and nobody whom a signal reaches."""
    me = os.getpid()
    listing = outcome(lambda: os.listdir("/proc"))  # noqa: PTH208
    names = os.listdir("/proc") if listing == ALLOWED else []  # noqa: PTH208
    others = sum(name.isdecimal() and int(name) != me for name in names)
    # Signal 0 is only the permission check; -1 addresses everybody but pid 1 and this process.
    signal = outcome(lambda: os.kill(-1, 0))
    parent = outcome(lambda: os.kill(os.getppid(), 0)) if os.getppid() else "outside"
    return Gate(
        name="own-processes-only",
        tried="list /proc, signal everybody and the parent with signal 0",
        found=f"{others} other processes, everybody {signal}, parent {parent}",
        held=others == 0 and ALLOWED not in {signal, parent},
    )


def root_read_only() -> Gate:
    """The root is mounted read-only, no file can be made in it, and it cannot be remounted."""
    root = mounts().get("/")
    read_only = root is not None and root.read_only
    answers = {directory: creating(directory) for directory in _ROOT_DIRECTORIES if os.path.isdir(directory)}  # noqa: PTH112
    # A root that is writable already is not remounted: that could only change a bare host.
    remount = _remounting() if read_only else "not tried"
    made = [directory for directory, answer in answers.items() if answer == ALLOWED]
    words = sorted(set(answers.values()))
    return Gate(
        name="root-read-only",
        tried=f"create a file in {len(answers)} folders of the root, remount it writable",
        found=f"mounted {'ro' if read_only else 'rw'}, create {', '.join(words)}, remount {remount}"
        + (f", writable: {' '.join(made)}" if made else ""),
        held=read_only and not made and remount != ALLOWED,
    )


def _remounting() -> str:
    target = b"/"
    answer = calling("mount", 0, address_of(target), 0, _MS_REMOUNT_BIND, 0)
    if answer == ALLOWED:
        call("mount", 0, address_of(target), 0, _MS_REMOUNT_BIND | _MS_RDONLY, 0)
    return answer


def host_files_absent(canaries: Canaries) -> Gate:
    """Neither the canary nor anything else of the host can be read, and no lever of the host's kernel be held."""
    tried = (canaries.path, *_HOST_PATHS)
    open_paths = [path for path in tried if _readable(path)]
    open_paths += [path for path in _HOST_LEVERS if opening(path, os.O_WRONLY) == ALLOWED]
    open_paths += [path for path in _foreign_roots() if _is_another_root(path)]
    log = calling("syslog", _SYSLOG_SIZE_BUFFER, 0, 0)
    if log == ALLOWED:
        open_paths.append("kernel log")
    if canaries.path in open_paths:
        open_paths[0] = "the canary"  # its path is the host's business
    return Gate(
        name="host-files-absent",
        tried=f"read a canary file and {len(_HOST_PATHS)} places of the host, hold {len(_HOST_LEVERS)} kernel levers",
        found=f"canary {opening(canaries.path, os.O_RDONLY)}, kernel log {log}"
        + (f", open: {', '.join(open_paths)}" if open_paths else ""),
        held=not open_paths,
    )


def _readable(path: str) -> bool:
    """Whether a file opens, a socket is there or a folder shows an entry.

    Runtimes mask files with /dev/null, folders with emptiness.
    """
    try:
        if os.path.isdir(path):  # noqa: PTH112
            return bool(os.listdir(path))  # noqa: PTH208
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        return error.errno == errno.ENXIO  # a socket: it is not opened but connected to
    masked = stat.S_ISCHR(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    return not masked


def _foreign_roots() -> tuple[str, ...]:
    return tuple(f"/proc/{pid}/root" for pid in {1, os.getppid()} - {0, os.getpid()})


def _is_another_root(path: str) -> bool:
    try:
        theirs, mine = os.stat(path), os.stat("/")  # noqa: PTH116
        os.listdir(path)  # noqa: PTH208
    except OSError:
        return False
    return (theirs.st_dev, theirs.st_ino) != (mine.st_dev, mine.st_ino)


def foreign_volumes_absent(canaries: Canaries, *, own_kernel: bool = False) -> Gate:
    """None of the volumes that the pod has and this component must not see is here, nor a mount that no plan has.

    An empty folder of the image, a mount point that other components use, is no volume.

    Args:
        canaries: Name the volumes.
        own_kernel: Whether another kernel than the host's answers. gVisor's shows folders of the host as 9p, and /tmp,
            empty.
    """
    in_memory = "9p" if own_kernel else "tmpfs"
    own_places = ("/", _RINGS, _EMPTY) if own_kernel else ("/", _RINGS)
    seen = [volume for volume in canaries.volumes if _is_volume(volume)]
    seen += [mount.point for mount in mounts().values() if _is_strange(mount, in_memory, own_places)]
    return Gate(
        name="foreign-volumes-absent",
        tried=f"look into {len(canaries.volumes)} volumes of other components, and for mounts that are nobody's",
        found=f"seen: {', '.join(seen)}" if seen else "none seen",
        held=not seen,
    )


def _is_volume(path: str) -> bool:
    try:
        return os.stat(path).st_dev != os.stat("/").st_dev or bool(os.listdir(path))  # noqa: PTH116, PTH208
    except OSError:
        return path in mounts()


def _is_strange(mount: Mounted, in_memory: str, own_places: tuple[str, ...]) -> bool:
    """Whether a mount is none of a component's: its root, the kernel's file systems and rings, which are in memory.

    What lies below /proc, /dev and /sys is for other gates.
    """
    if mount.point.startswith(f"{_RINGS}/"):
        return mount.kind != in_memory
    return not any(mount.point == place or mount.point.startswith(f"{place}/") for place in _KERNEL) and (
        mount.point not in own_places
    )


def devices_absent(*, own_kernel: bool = False) -> Gate:
    """Only the harmless devices are in /dev, the host's do not open, and none can be made.

    Args:
        own_kernel: Whether another kernel than the host's answers; a device is then that kernel's.
    """
    harmless = _DEVICES | _BESIDE_DEVICES | (_GUEST_DEVICES if own_kernel else frozenset())
    listing = outcome(lambda: os.listdir("/dev"))  # noqa: PTH208
    names = os.listdir("/dev") if listing == ALLOWED else []  # noqa: PTH208
    strange = sorted(name for name in names if name not in harmless)
    tried = [name for name in _HOST_DEVICES if name not in harmless]
    opened = [name for name in tried if opening(f"/dev/{name}", os.O_RDONLY) == ALLOWED]
    made = {directory: _making_node(directory) for directory in ("/dev", "/dev/shm", "/")}  # noqa: S108
    return Gate(
        name="devices-absent",
        tried=f"list /dev, open {len(tried)} devices of the host, make a device",
        found=f"{len(names)} entries, mknod {', '.join(sorted(set(made.values())))}"
        + (f", strange: {' '.join(strange[:8])}" if strange else "")
        + (f", opened: {' '.join(opened)}" if opened else ""),
        held=not strange and not opened and ALLOWED not in made.values(),
    )


def _making_node(directory: str) -> str:
    path = f"{directory.rstrip('/')}/.veilbox-probe-node-{os.getpid()}"
    answer = outcome(lambda: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)))
    if answer == ALLOWED:
        os.unlink(path)  # noqa: PTH108
    return answer
