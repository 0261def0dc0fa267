from __future__ import annotations

import pytest

from veilbox.core.errors import UsageError
from veilbox.seal.allowlist import syscalls
from veilbox.seal.confinement import _CALLS

COMPONENTS = ("ingest", "detect-centerface", "anonymize", "export", "claim", "verify", "second-centerface", "audit")
# clone is allowed for threads only, see oci/runtime/seccomp.py; execve starts the component itself.
NEVER = {
    *_CALLS,
    "unshare",
    "socket",
    "socketpair",
    "connect",
    "fork",
    "vfork",
    "kill",
    "process_madvise",
    "tkill",
    "setsockopt",
}


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_list_is_short_sorted_and_free_of_what_is_forbidden(component: str) -> None:
    names = syscalls(component)
    assert list(names) == sorted(set(names))
    assert len(names) <= 80
    assert not set(names) & NEVER


def test_every_component_can_start_and_talk() -> None:
    for component in COMPONENTS:
        assert {"execve", "mmap", "futex", "sendmsg", "recvmsg", "poll", "exit_group"} <= set(syscalls(component))


def test_only_components_with_threads_may_make_them() -> None:
    assert "clone" not in syscalls("audit")
    assert "clone" in syscalls("detect-yunet")


def test_detectors_share_a_list() -> None:
    assert syscalls("detect-centerface") == syscalls("detect-other") == syscalls("detect")


@pytest.mark.parametrize("component", ["", "base", "supervisor", "../ingest", "INGEST"])
def test_an_unknown_component_has_no_list(component: str) -> None:
    with pytest.raises(UsageError, match="no allow-list"):
        syscalls(component)
