"""The filter on system calls that a component lays over the runtime's, or in a bare process as the only one.

It is the component's own allow-list again, by the same rules, less what only its start needed: no program can be
started any more, and the walls that were laid cannot be laid anew. The kernel asks every filter and takes the
strictest answer.
Source: Linux 6.18, include/uapi/linux/{seccomp,filter,audit}.h, Documentation/userspace-api/seccomp_filter.rst;
libseccomp's comparison of both halves of an argument.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator, Mapping

from veilbox.core.errors import MachineError
from veilbox.core.system_calls import FILTERED, FILTERED_AFTER_START, NEVER_ALLOWED, START_ONLY, UNKNOWN, Argument
from veilbox.seal.allowlist.numbers import NUMBERS

# machine: (column of the table, AUDIT_ARCH_*).
_MACHINES: Mapping[str, tuple[int, int]] = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

# BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_JMP|JEQ|K, BPF_RET|K
_LOAD, _AND, _JUMP_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; arguments have 8 bytes
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOW, _HIGH = 0xFFFFFFFF, 32
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


def tighten(names: Iterable[str], *, starting: bool = False) -> bool:
    """Refuse, for good and for every thread made later, what is not in a list. Needs no-new-privileges.

    Args:
        names: A component's allow-list.
        starting: Whether what only a component's start needs stays allowed: the filter of a runtime, where there is
            none.

    Returns:
        Whether the filter is in force; False on a machine whose call numbers are not in the table.

    Raises:
        MachineError: The kernel, or an earlier filter, refused; or a name has no number.
    """
    machine = os.uname().machine
    if machine not in _MACHINES:
        return False
    code = program(names, machine, starting=starting)
    text = ctypes.create_string_buffer(code)
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.c_char_p(header), 0, 0):
        raise MachineError("the second filter was refused", actual=os.strerror(ctypes.get_errno()))
    return True


def program(names: Iterable[str], machine: str, *, starting: bool = False) -> bytes:
    """The filter as classic BPF, eight bytes an instruction.

    Calls whose arguments do not matter come as a run of comparisons: the kernel keeps in a bitmap which of them always
    pass, and does not run the filter for those.

    Args:
        names: An allow-list.
        machine: `x86_64` or `aarch64`.
        starting: As for `tighten`.

    Raises:
        MachineError: A name has no number.
    """
    column, architecture = _MACHINES[machine]
    filtered = FILTERED if starting else FILTERED_AFTER_START
    allowed = set(names) - NEVER_ALLOWED - (frozenset() if starting else START_ONLY)
    code = [_line(_LOAD, _ARCHITECTURE), _line(_JUMP_EQUAL, architecture, 1), _refuse(_EPERM), _line(_LOAD, _NUMBER)]
    for number in _numbers(allowed - filtered.keys(), column):
        code += _if_equal(number, [_line(_RETURN, _ALLOW)])
    for number in _numbers(set(UNKNOWN) - allowed, column):
        code += _if_equal(number, [_refuse(_ENOSYS)])
    for name in sorted(allowed & filtered.keys()):
        for number in _numbers({name}, column):
            code += _if_equal(number, _alternatives(filtered[name]))
    return b"".join([*code, _refuse(_EPERM)])


def _numbers(names: Iterable[str], column: int) -> Iterator[int]:
    for name in sorted(names):
        if name not in NUMBERS:
            raise MachineError("a system call of the list has no number", where=name)
        number = NUMBERS[name][column]
        if number is not None:
            yield number


def _alternatives(ways: Iterable[tuple[Argument, ...]]) -> list[bytes]:
    """Allow if one way's tests all hold, else refuse; the accumulator is lost."""
    code: list[bytes] = []
    for tests in ways:
        code += _if_all(tests)
    return [*code, _refuse(_EPERM)]


def _if_all(tests: tuple[Argument, ...]) -> list[bytes]:
    code = [_line(_RETURN, _ALLOW)]
    for test in reversed(tests):
        for offset, shift in ((4, _HIGH), (0, 0)):  # little-endian: the low half lies first
            mask = _LOW if test.mask is None else test.mask >> shift & _LOW
            compared = [_line(_LOAD, _ARGUMENTS + 8 * test.index + offset), _line(_AND, mask)]
            code = [*compared, *_if_equal(test.value >> shift & _LOW, code)]
    return code


def _if_equal(value: int, then: list[bytes]) -> list[bytes]:
    """Run some instructions if the accumulator has a value, else go on behind them."""
    return [_line(_JUMP_EQUAL, value, 0, len(then)), *then]


def _refuse(number: int) -> bytes:
    return _line(_RETURN, _ERRNO | number)


def _line(what: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("=HBBI", what, true, false, value)
