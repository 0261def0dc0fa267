"""The door to the system calls that Python lacks: mounts, namespaces, adoption of orphans.

64-bit Linux only: numbers of calls younger than the generic table (428 and up) are the same on every architecture,
and arguments are passed as full words. Errno becomes `OSError`; the rooms' own functions translate that.
"""

from __future__ import annotations

import ctypes
import os

# Source of all constants: include/uapi/linux/{mount,sched,prctl,fcntl}.h of Linux 6.1.
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 0x2
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8

_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 0x1, 0o2000000
_SYS_OPEN_TREE, _SYS_MOUNT_SETATTR = 428, 442
_SYS_LANDLOCK_CREATE_RULESET, _LANDLOCK_CREATE_RULESET_VERSION = 444, 0x1
_PR_SET_CHILD_SUBREAPER, _PR_GET_SECCOMP = 36, 21

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _MountAttr(ctypes.Structure):
    """`struct mount_attr`, version 0."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount(source: bytes, target: bytes, kind: bytes, flags: int, options: bytes = b"") -> None:
    """Attach a file system, bind a folder, or change a mount's flags.

    Args:
        source: Device, folder or a name that mountinfo will show.
        target: Where; an existing folder or file.
        kind: File system type; empty for a bind or a change of flags.
        flags: MS_*.
        options: Comma-separated, as the file system wants them.

    Raises:
        OSError: The kernel refused.
    """
    _check(_libc.mount(source, target, kind or None, ctypes.c_ulong(flags), options or None), target)


def unmount(target: bytes, flags: int = MNT_DETACH) -> None:
    """Detach a mount, lazily by default.

    Raises:
        OSError: The kernel refused.
    """
    _check(_libc.umount2(target, flags), target)


def unshare(flags: int) -> None:
    """Leave the namespaces named by CLONE_* for new ones.

    Raises:
        OSError: The kernel refused.
    """
    _check(_libc.unshare(flags), b"")


def clone_mount(descriptor: int) -> int:
    """A mount of its own, attached nowhere, of the file or folder behind a descriptor.

    Args:
        descriptor: Opened in this mount namespace; O_PATH is enough.

    Returns:
        An O_PATH descriptor, close-on-exec; the mount lives as long as something of it is open.

    Raises:
        OSError: The kernel refused, or is older than 5.2 (ENOSYS).
    """
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_EMPTY_PATH
    return _check(_libc.syscall(_SYS_OPEN_TREE, descriptor, b"", flags), b"")


def restrict_mount(descriptor: int, attributes: int) -> None:
    """Add MOUNT_ATTR_* to the mount behind a descriptor.

    Raises:
        OSError: The kernel refused, or is older than 5.12 (ENOSYS).
    """
    wanted = _MountAttr(attr_set=attributes)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    _check(_libc.syscall(_SYS_MOUNT_SETATTR, descriptor, b"", _AT_EMPTY_PATH, ctypes.byref(wanted), size), b"")


def enter_root(path: bytes) -> None:
    """Make a mount the root of this mount namespace and of this process, and let go of the former root.

    Raises:
        OSError: The kernel refused.

    Source: pivot_root(2), `pivot_root(".", ".")`.
    """
    os.chdir(path)
    _check(_libc.pivot_root(b".", b"."), path)
    unmount(b".")
    os.chdir(b"/")


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that their exit status is ours to read.

    Raises:
        OSError: The kernel refused.
    """
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), b"")


def landlock_abi() -> int:
    """The kernel's Landlock version; 0 where it has none or it is switched off."""
    version: int = _libc.syscall(
        _SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_CREATE_RULESET_VERSION
    )
    return max(version, 0)


def has_seccomp() -> bool:
    """Whether the kernel knows seccomp; asking changes nothing."""
    return int(_libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0)) >= 0


def _check(result: int, path: bytes) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(path))
    return int(result)
