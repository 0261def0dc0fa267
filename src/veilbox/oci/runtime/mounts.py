"""What the supervisor mounts in its private namespace, and the descriptors that cannot be turned writable.

Mounts are made through descriptors, so that a container's mountinfo shows no folder of the host.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from veilbox.core.errors import MachineError, SourceMissing, SourceUnsupported
from veilbox.oci.runtime import syscalls

_SAFE = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
_SAFE_READ_ONLY = (
    syscalls.MOUNT_ATTR_RDONLY
    | syscalls.MOUNT_ATTR_NOSUID
    | syscalls.MOUNT_ATTR_NODEV
    | syscalls.MOUNT_ATTR_NOEXEC
)  # fmt: skip
_ADVICE_OVERLAY = "Load it with: modprobe overlay; without root a kernel of 5.11 or later is needed"

# A ring's volume holds one file, two while a ring grows.
_VOLUME_INODES = 16

# Kernels before 5.2 or 5.12 lack the calls; a seccomp filter around veilbox or a mount that user namespaces may not
# clone refuses them.
_CLONE_REFUSED = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP})


class OverlayRefused(MachineError):
    """The kernel has no overlays for us: not loaded, too old for user namespaces, or forbidden."""


def mount_tmpfs(path: Path, size_bytes: int, owner_id: int) -> None:
    """Mount a memory volume that one container's user may write and everybody may read.

    Args:
        path: An existing folder.
        size_bytes: Upper bound of its files.
        owner_id: The writer's user and group id, as this process's user namespace counts.

    Raises:
        MachineError: The kernel refused.
    """
    options = f"mode=0755,size={size_bytes},nr_inodes={_VOLUME_INODES},uid={owner_id},gid={owner_id}"
    try:
        syscalls.mount(b"veilbox", os.fsencode(path), b"tmpfs", _SAFE, options.encode())
    except OSError as error:
        raise _refused("a memory volume cannot be mounted", path, error) from error


def mount_overlay(layers: Sequence[Path], path: Path) -> None:
    """Mount an image's unpacked layers as one read-only tree.

    Args:
        layers: Folders, topmost first; at least one.
        path: An existing folder.

    Raises:
        OverlayRefused: The kernel refused to lay them over each other. One folder needs no overlay.
        MachineError: A layer is missing, or the kernel refused.
    """
    with ExitStack() as opened:
        lower = [_opened_folder(layer, opened) for layer in layers]
        try:
            if len(lower) == 1:
                _bind_read_only(lower[0], path)
            else:
                _overlay(lower, path)
        except OSError as error:
            kind = MachineError if len(lower) == 1 else OverlayRefused
            raise kind(
                "an image's layers cannot be mounted",
                where=str(path),
                actual=error.strerror or "",
                advice=_ADVICE_OVERLAY,
            ) from error


def _opened_folder(layer: Path, opened: ExitStack) -> int:
    try:
        descriptor = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _refused("an image's layer cannot be opened", layer, error) from error
    opened.callback(os.close, descriptor)
    return descriptor


def _overlay(lower: Sequence[int], path: Path) -> None:
    # The kernel copies the names into mountinfo: /proc/self/fd/N says nothing about the host, and is short enough
    # for the single page that mount options may fill.
    options = "lowerdir=" + ":".join(_reopenable(descriptor) for descriptor in lower)
    flags = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount(b"veilbox", os.fsencode(path), b"overlay", flags, options.encode())


def _bind_read_only(layer: int, path: Path) -> None:
    target = os.fsencode(path)
    flags = syscalls.MS_BIND | syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount(_reopenable(layer).encode(), target, b"", syscalls.MS_BIND)
    syscalls.mount(b"", target, b"", syscalls.MS_REMOUNT | flags)  # a bind takes its flags in a second step


def unmount(path: Path) -> None:
    """Detach what is mounted at a path; nothing happens where nothing is mounted.

    Raises:
        MachineError: The kernel refused.
    """
    try:
        syscalls.unmount(os.fsencode(path))
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            raise _refused("cannot unmount", path, error) from error


def mount_points(folder: Path) -> tuple[Path, ...]:
    """What is mounted below a folder in this process's mount namespace, the latest first."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    targets = [Path(line.split()[4]) for line in lines]
    return tuple(target for target in reversed(targets) if target != folder and target.is_relative_to(folder))


def read_only_clone(path: Path) -> int:
    """Open a source so that nobody who gets the descriptor can make it writable.

    A descriptor opened for reading can be opened again for writing through /proc/self/fd by a user whom the file's
    permissions allow it. This one lies on a read-only mount of its own, so the kernel refuses whatever they say.
    Where the kernel cannot make such a mount it is an ordinary descriptor for reading.

    Args:
        path: Any bytes; symbolic links are followed.

    Returns:
        A close-on-exec descriptor at offset 0.

    Raises:
        SourceMissing: There is no such file, or it may not be read.
        SourceUnsupported: It is a folder, device, pipe or socket; it was not opened.
    """
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise SourceMissing("cannot be opened", where=str(path), actual=error.strerror or "") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise SourceUnsupported("is no regular file", where=str(path))
        return _open_on_own_mount(handle)
    except OSError as error:
        raise SourceMissing("cannot be read", where=str(path), actual=error.strerror or "") from error
    finally:
        os.close(handle)


def _open_on_own_mount(handle: int) -> int:
    clone = -1
    try:
        clone = syscalls.clone_mount(handle)
        syscalls.restrict_mount(clone, _SAFE_READ_ONLY)
        return os.open(_reopenable(clone), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _CLONE_REFUSED:
            raise
        return os.open(_reopenable(handle), os.O_RDONLY | os.O_CLOEXEC)
    finally:
        with suppress(OSError):
            os.close(clone)


def _reopenable(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _refused(what: str, path: Path, error: OSError) -> MachineError:
    return MachineError(what, where=str(path), actual=error.strerror or "")
