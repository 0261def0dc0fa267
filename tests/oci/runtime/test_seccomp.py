from __future__ import annotations

import json
from typing import Any

import pytest

from veilbox.core.errors import MachineError
from veilbox.oci.runtime.seccomp import seccomp

CLONE_NEW = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
# What glibc's pthread_create and fork ask for (glibc 2.36).
THREAD, FORK = 0x003D0F00, 0x01200011


def decide(profile: dict[str, Any], name: str, *arguments: int) -> int:
    """What the filter answers: 0 allowed, else the errno. The reading of runtime-spec's config-linux.md."""
    for rule in profile["syscalls"]:
        if name in rule["names"] and all(_holds(test, arguments) for test in rule.get("args", [])):
            return 0 if rule["action"] == "SCMP_ACT_ALLOW" else rule["errnoRet"]
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    return int(profile["defaultErrnoRet"])


def _holds(test: dict[str, Any], arguments: tuple[int, ...]) -> bool:
    actual = arguments[test["index"]]
    if test["op"] == "SCMP_CMP_MASKED_EQ":
        return bool(actual & test["value"] == test["valueTwo"])
    assert test["op"] == "SCMP_CMP_EQ"
    return bool(actual == test["value"])


ASKED = (
    "read", "clone", "clone3", "socket", "socketpair", "fcntl", "futex", "ioctl", "prctl", "personality", "mmap",
    "mprotect",
)  # fmt: skip
PROFILE = seccomp([*ASKED, "pkey_mprotect", "shmat", "remap_file_pages"], "x86_64")
READ, WRITE, EXEC = 1, 2, 4

CONVERSATIONS: list[tuple[str, tuple[int, ...], int]] = [
    ("read", (0,), 0),
    ("write", (0,), 1),
    ("mount", (), 1),
    ("socket", (1, 1, 0), 0),
    *[("socket", (family, 1, 0), 1) for family in (0, 2, 10, 16, 17, 31, 38, 40, 0x100000001)],
    ("socketpair", (1, 5, 0), 0),
    ("socketpair", (2, 5, 0), 1),
    ("clone", (THREAD,), 0),
    ("clone", (FORK,), 1),
    *[("clone", (THREAD | flag,), 1) for flag in CLONE_NEW],
    *[("clone", (FORK | flag,), 1) for flag in CLONE_NEW],
    ("clone3", (), 38),
    ("openat2", (), 38),
    ("faccessat2", (), 38),
    *[("fcntl", (3, command), 0) for command in (0, 1, 2, 3, 4, 1030)],
    # F_GETLK, F_SETLK, F_SETOWN, F_OFD_GETLK, F_OFD_SETLK, F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ, F_ADD_SEALS
    *[("fcntl", (3, command), 1) for command in (5, 6, 8, 36, 37, 1024, 1026, 1031, 1033, 6 | 1 << 32)],
    # wait, wait with a time of the clock's, and whatever is private; to wake or to move who waits is not
    *[("futex", (4096, operation), 0) for operation in (0, 9, 9 | 256, 128, 129, 131, 137, 393)],
    *[("futex", (4096, operation), 1) for operation in (1, 3, 4, 5, 6, 7, 10, 11, 12, 257, 512)],
    ("ioctl", (0, 0x5401), 0),
    ("ioctl", (0, 0x5412), 1),  # TIOCSTI
    ("prctl", (15,), 0),
    ("prctl", (39,), 0),
    ("prctl", (4, 0), 0),  # PR_SET_DUMPABLE: off
    ("prctl", (4, 1), 1),  # and never on again
    ("prctl", (22, 2), 0),  # PR_SET_SECCOMP: one more filter
    ("prctl", (22, 1), 1),
    ("personality", (0xFFFFFFFF,), 0),
    ("personality", (0x0040000,), 1),  # ADDR_NO_RANDOMIZE
    *[("mmap", (0, 4096, protection), 0) for protection in (0, READ, READ | WRITE, EXEC, READ | EXEC)],
    *[("mmap", (0, 4096, protection), 1) for protection in (WRITE | EXEC, READ | WRITE | EXEC)],
    *[("mprotect", (0, 4096, protection), 0) for protection in (0, READ, READ | WRITE)],
    *[("mprotect", (0, 4096, protection), 1) for protection in (EXEC, READ | EXEC, READ | WRITE | EXEC)],
    *[(name, (0, 4096, READ), 1) for name in ("pkey_mprotect", "shmat", "remap_file_pages")],
]


@pytest.mark.parametrize(("name", "arguments", "answer"), CONVERSATIONS)
def test_what_the_filter_answers(name: str, arguments: tuple[int, ...], answer: int) -> None:
    assert decide(PROFILE, name, *arguments) == answer


def test_calls_with_filters_are_not_allowed_unless_listed() -> None:
    profile = seccomp(["read"], "aarch64")
    for name in ("clone", "socket", "ioctl", "prctl"):
        assert decide(profile, name, 1, 0x5401) == 1
    assert profile["architectures"] == ["SCMP_ARCH_AARCH64"]


def test_a_listed_call_is_not_reported_as_unknown() -> None:
    assert decide(seccomp(["statx"], "amd64"), "statx") == 0


def test_order_does_not_matter_and_it_is_json() -> None:
    one, other = seccomp(["read", "clone", "write"], "arm64"), seccomp(["write", "read", "clone"], "arm64")
    assert json.dumps(one) == json.dumps(other)


def test_an_empty_list_is_a_filter_that_allows_nothing() -> None:
    assert all(rule["action"] != "SCMP_ACT_ALLOW" for rule in seccomp([], "x86_64")["syscalls"])


def test_an_unknown_processor() -> None:
    with pytest.raises(MachineError, match="riscv64"):
        seccomp(["read"], "riscv64")


def test_gvisor_is_not_told_which_number_to_answer() -> None:
    """Its filter says EPERM for any; a call that nobody traces is one that the kernel does not have."""
    rules = seccomp(["read"], "x86_64", errno=False)["syscalls"]
    unknown = next(rule for rule in rules if "clone3" in rule["names"])
    assert unknown["action"] == "SCMP_ACT_TRACE"
    assert not [rule for rule in rules if "errnoRet" in rule]
