"""The one door to raw system calls: the probe must see the kernel's answer, not that of a C library's fallback."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping

from veilbox.seal.outcome import ALLOWED, errno_name

# name: (x86_64, aarch64).
# Source: Linux 6.1, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
NUMBERS: Mapping[str, tuple[int, int]] = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clone": (56, 220),
    "clone3": (435, 435),
    "execveat": (322, 281),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "setns": (308, 268),
    "setresuid": (117, 147),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
_COLUMNS: Mapping[str, int] = {"x86_64": 0, "aarch64": 1}

_ARGUMENTS = 6
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = [ctypes.c_long] * (1 + _ARGUMENTS)


def call(name: str, *arguments: int) -> int:
    """Make a system call.

    Args:
        name: A key of `NUMBERS`.
        arguments: Up to six integers; 0 stands for a null pointer.

    Returns:
        What the kernel returned, at least 0.

    Raises:
        OSError: The kernel's errno; ENOSYS on a machine whose numbers are not in the table.
    """
    column = _COLUMNS.get(os.uname().machine)
    if column is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return _made(NUMBERS[name][column], arguments)


def _made(number: int, arguments: tuple[int, ...]) -> int:
    padded = arguments + (0,) * (_ARGUMENTS - len(arguments))
    answer = int(_libc.syscall(number, *padded))
    if answer < 0:
        reason = ctypes.get_errno()
        raise OSError(reason, os.strerror(reason))
    return answer


def raw_call(number: int, *arguments: int) -> str:
    """The outcome, as a word, of a system call that has no name here; see `call`."""
    try:
        _made(number, arguments)
    except OSError as error:
        return errno_name(error.errno)
    return ALLOWED


def calling(name: str, *arguments: int) -> str:
    """The outcome of a system call as a word; see `call`."""
    try:
        call(name, *arguments)
    except OSError as error:
        return errno_name(error.errno)
    return ALLOWED


def address_of(text: bytes) -> int:
    """The address of a bytes object's text, which ends in a NUL; it lives as long as the object does."""
    return ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p).value or 0


def known_machine() -> bool:
    """Whether this machine's call numbers are in the table; if not, nothing that `calling` says counts."""
    return os.uname().machine in _COLUMNS
