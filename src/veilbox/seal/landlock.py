"""Landlock: what a process denies itself of files, networks, signals and abstract sockets, for good.

It needs no right, holds in bare processes too, and adds to what the runtime built. Call it before any thread is made:
a thread that is there already goes free.
Source: Linux 6.18, include/uapi/linux/landlock.h, Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Sequence

from veilbox.core.errors import MachineError

# The same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 5, 1 << 8, 1 << 14
_READ = _READ_FILE | _READ_DIR
_WRITE = _WRITE_FILE | _REMOVE_FILE | _MAKE_REG

# How many rights of files each ABI knows: 13 at first, then renaming across folders, truncation, ioctl of devices.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_FILE_RIGHTS_NOW = 16
_NET_SINCE, _NET_RIGHTS = 4, 0b11  # bind and connect of TCP
_SCOPE_SINCE, _SCOPES = 6, 0b11  # abstract Unix sockets and signals of others
_TRUNCATE_SINCE = 3

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def restrict(*, readable: Sequence[str] = ("/",), writable: Sequence[str] = (), executable: Sequence[str] = ()) -> int:
    """Deny this process everything but reading some files, and writing regular files below some folders.

    Descriptors that it holds or is handed keep their rights. No TCP port can be bound or connected to any more, no
    abstract socket or process outside be reached, and no program be started but those below `executable`.

    Args:
        readable: Files, and folders with all below them; those that are not there are passed over.
        writable: Folders, likewise; they can be read too.
        executable: Folders, likewise; they can be read too. Which programs a process may start that becomes one.

    Returns:
        The kernel's ABI, from 1 on; 0 if the kernel has no Landlock, or it is switched off: nothing is denied then.

    Raises:
        MachineError: The kernel has it and refused.
    """
    abi = version()
    if abi < 1:
        return 0
    handled = (1 << _FILE_RIGHTS.get(abi, _FILE_RIGHTS_NOW)) - 1
    network = _NET_RIGHTS if abi >= _NET_SINCE else 0
    scopes = _SCOPES if abi >= _SCOPE_SINCE else 0
    # Older kernels take shorter structures: trailing fields that they do not know must be zero or absent.
    attributes = struct.pack("=QQQ", handled, network, scopes)
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes) if scopes else 16 if network else 8, 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ)
        for folder in writable:
            _allow(ruleset, folder, _READ | _WRITE | (_TRUNCATE if abi >= _TRUNCATE_SINCE else 0))
        for folder in executable:
            _allow(ruleset, folder, _READ | _EXECUTE)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return abi


def version() -> int:
    """The kernel's ABI; below 1 where it has no Landlock, or it is switched off or refused."""
    answer = int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_GET_VERSION)))
    if answer < 0 and ctypes.get_errno() not in {errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}:
        raise MachineError("Landlock does not tell its version", actual=os.strerror(ctypes.get_errno()))
    return answer


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= ~_READ_DIR  # the kernel takes no right of folders for a file
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: int | bytes) -> int:
    words = [ctypes.c_char_p(word) if isinstance(word, bytes) else ctypes.c_long(word) for word in arguments]
    answer = int(_libc.syscall(ctypes.c_long(number), *words))
    if answer < 0:
        raise MachineError("Landlock refused", expected=f"call {number}", actual=os.strerror(ctypes.get_errno()))
    return answer
