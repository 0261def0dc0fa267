"""Hostile code in the place of each component, in the very container that a job gives it: every attempt must fail."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hostile.attempt import ALLOWED
from hostile.held_item import ATTEMPTS as HELD
from hostile.stand_in import EVERY
from red_team_workshop import open_folder, require_runtime, run_program, runtimes

from veilbox.oci.runtime.dialect import PROCESS

COMPONENTS = ("ingest", "detect-centerface", "anonymize", "export", "verify", "second-centerface", "audit")
# The words, and each has at least one attempt.
GROUPS = {
    "namespaces", "capabilities", "mounts", "set-uid", "devices", "/proc and /sys", "control groups", "network",
    "signals", "other processes", "keyrings", "kernel surfaces", "files by handle", "programs", "shared memory",
    "rings", "descriptors", "host paths", "memory", "the machine", "kernel log", "resources", "writes", "filters",
    "shared files",
}  # fmt: skip
LEAST = 60
# Taken over behind its own walls; and an image that never laid any, so that the container's walls stand alone.
KINDS = ("taken-over", "never-sealed")
# A sealed process whose image never laid a wall stands behind fewer than one that did.
CASES = [
    *((runtime, kind) for runtime in runtimes() for kind in KINDS),
    (PROCESS, "never-sealed"),
    ("runsc", "taken-over"),
]
# What gVisor's kernel answers in its own books, and nothing of the host's follows: two devices of its own open; a
# written ring maps executable, and who jumps there ends (tests/oci/runtime/test_runsc.py); a source that everybody may
# write opens for writing, and the write fails (EBADF), for the host's descriptor cannot.
OF_ITS_OWN_KERNEL = {
    "open-a-device": {"ENOENT", "EIO", "allowed"},
    "execute-own-file": {"EPERM", "allowed"},
    "source-for-writing": {"EBADF"},
}

Reports = Mapping[str, Sequence[Mapping[str, Any]]]


def test_attempts_have_names_of_their_own_and_every_group_is_tried() -> None:
    every = (*EVERY, *HELD)
    assert [name for name, times in Counter(one.id for one in every).items() if times > 1] == []
    assert {one.group for one in every} == GROUPS


def test_no_attempt_takes_success_for_a_refusal() -> None:
    assert [one.id for one in (*EVERY, *HELD) if ALLOWED in one.refused] == []


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def reports(request: pytest.FixtureRequest, sealed: None, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    del sealed
    runtime, kind = request.param
    require_runtime(runtime)
    if runtime == "runsc" and os.geteuid() != 0:
        pytest.skip("runsc needs root")
    found: Reports = run_program("assault.py", runtime, kind, open_folder(tmp_path_factory.mktemp("layers")))
    if runtime == "runsc":
        return {name: [_as_answered(one) for one in tried] for name, tried in found.items()}
    return found


def _as_answered(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """With gVisor's own answers taken for what they are, exactly those and no other."""
    return {**one, "held": one["held"] or set(one["found"].split(", ")) <= OF_ITS_OWN_KERNEL.get(one["name"], set())}


@pytest.mark.sealed
@pytest.mark.parametrize("component", COMPONENTS)
def test_no_escape_and_no_leak(reports: Reports, component: str) -> None:
    tried = reports[component]
    assert len(tried) >= LEAST
    assert {one["name"]: one["found"] for one in tried if not one["held"]} == {}


@pytest.mark.sealed
def test_every_attempt_was_made_somewhere(reports: Reports) -> None:
    made = {one["name"] for tried in reports.values() for one in tried}
    assert made == {one.id for one in (*EVERY, *HELD)}


@pytest.mark.sealed
def test_without_the_filters_many_attempts_get_through(sealed: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An attempt that no missing wall lets through would prove nothing."""
    del sealed
    require_runtime(runtimes()[0])
    folder = open_folder(tmp_path_factory.mktemp("layers"))
    found: Reports = run_program("assault.py", runtimes()[0], "unfiltered", folder)
    through = {one["name"] for tried in found.values() for one in tried if not one["held"]}
    assert through >= {
        "unshare-user", "clone-user", "clone3", "keyctl", "userfaultfd", "memfd-create", "ptrace-attach",
        "process-vm-readv", "socket-of-every-family", "kernel-program-on-socket", "write-and-execute",
        "lock-a-shared-file", "ask-for-locks", "wake-through-a-library",
        "execute-written", "make-a-process", "pidfd-open", "name-to-handle-at", "shmget",
    }  # fmt: skip
