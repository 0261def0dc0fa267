"""Drift: a container as it was planned has none; each thing that is weaker is named."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from scan_workshop import bundle

from veilbox.scan.drift import DRIFT, Running, SeenMount, drifted
from veilbox.scan.reading import parse
from veilbox.scan.tree import Place

FLAGS = frozenset({"nosuid", "nodev", "noexec"})
PID = 4026531836
# Where the sources of the bundle's mounts lie for the supervisor.
SOURCES = {"/m/root": "0:30 /", "/m/raw": "0:31 /", "/m/clean": "0:32 /"}
ORIGINS = {"/": "0:30 /", "/rings/raw": "0:31 /", "/rings/clean": "0:32 /"}
CALLS = {"read": 0}


def _mounts() -> dict[str, SeenMount]:
    options = {
        "/": frozenset({"ro"}),
        "/proc": FLAGS | {"ro"},
        "/dev": frozenset({"nosuid", "noexec", "ro"}),
        "/dev/null": frozenset({"nosuid"}),
        "/rings/raw": FLAGS | {"ro"},
        "/rings/clean": FLAGS,
        "/proc/kcore": frozenset({"nosuid"}),
        "/proc/keys": frozenset({"nosuid"}),
        "/proc/sys": FLAGS | {"ro"},
    }
    return {
        point: SeenMount(point=point, options=flags, origin=ORIGINS.get(point, "")) for point, flags in options.items()
    }


def planned(**changes: Any) -> Place:
    return Place.root(parse(json.dumps(bundle() | changes, indent=1).encode())[0])


# What /proc says of a container that is as `bundle` plans it.
AS_PLANNED = Running(
    namespaces={kind: number for number, kind in enumerate(("pid", "net", "mnt", "ipc", "uts", "user", "cgroup"), 1)},
    elsewhere={"net": {"the host": PID, "export": PID + 1}},
    status={
        "Uid": "1879113724\t1879113724\t1879113724\t1879113724",
        "Gid": "1879113724\t1879113724\t1879113724\t1879113724",
        "CapInh": "0", "CapPrm": "0", "CapEff": "0", "CapBnd": "0", "CapAmb": "0",
        "NoNewPrivs": "1",
        "Seccomp": "2",
        "Seccomp_filters": "2",
    },
    id_map=((0, 1879048192, 65536),),
    mounts=_mounts(),
    interfaces=("lo",),
    routes=0,
    limits={"Max open files": 1024, "Max core file size": 0},
    cgroup={"memory": 1 << 30, "pids": 40, "cpu": 2_000_000},
    sources=SOURCES,
    filter=CALLS,
    words=("python3", "-m", "veilbox.components", "anonymize"),
    masked=frozenset({"/proc/kcore", "/proc/keys", "/proc/sys"}),
)  # fmt: skip


def status(**fields: str) -> Running:
    return replace(AS_PLANNED, status=dict(AS_PLANNED.status) | fields)


def mapped(count: int) -> Running:
    """The host's own ids, unchanged inside."""
    line = "\t".join(["65532"] * 4)
    return replace(status(Uid=line, Gid=line), id_map=((0, 0, count),))


def mounts(**changes: frozenset[str] | None) -> Running:
    kept = dict(AS_PLANNED.mounts)
    for name, options in changes.items():
        point = "/" + name.strip("_").replace("_", "/")
        kept.pop(point, None)
        if options is not None:
            kept[point] = SeenMount(point=point, options=options)
    return replace(AS_PLANNED, mounts=kept)


def found(running: Running, **changes: Any) -> set[str]:
    return {finding.rule.id for finding in drifted("config.json", planned(**changes), running)}


def test_a_container_as_planned_has_no_drift() -> None:
    assert found(AS_PLANNED) == set()


CASES = {
    "the host's network": (replace(AS_PLANNED, elsewhere={"net": {"the host": 2}}), "namespaces"),
    "another container's": (replace(AS_PLANNED, elsewhere={"ipc": {"export": 4}}), "namespaces"),
    "ids of the host": (mapped(1 << 32), "ids"),
    "host's root mapped": (mapped(65536), "ids"),
    "root inside": (status(Uid="1879048192\t1879048192\t1879048192\t1879048192"), "user"),
    "a saved root": (status(Uid="1879113724\t1879113724\t1879048192\t1879113724"), "user"),
    "group root": (status(Gid="1879048192\t1879048192\t1879048192\t1879048192"), "user"),
    "a user outside the map": (status(Uid="0\t0\t0\t0"), "user"),
    "all capabilities": (status(CapEff="000001ffffffffff"), "capabilities"),
    "one bounding": (status(CapBnd="0000000000200000"), "capabilities"),
    "new privileges": (status(NoNewPrivs="0"), "no-new-privileges"),
    "no filter": (status(Seccomp="0"), "seccomp"),
    "only the component's own filter": (status(Seccomp_filters="1"), "seccomp"),
    "writable root": (mounts(_=frozenset({"rw"})), "mounts"),
    "a writable ring": (mounts(rings_raw=FLAGS), "mounts"),
    "a ring with programs": (mounts(rings_clean=FLAGS - {"noexec"}), "mounts"),
    "a ring that is not there": (mounts(rings_raw=None), "mounts"),
    "one mount more": (mounts(host=FLAGS | {"ro"}), "mounts"),
    "an open /proc/kcore": (mounts(proc_kcore=None), "mounts"),
    "a writable /proc/sys": (mounts(proc_sys=FLAGS), "mounts"),
    "more memory": (replace(AS_PLANNED, cgroup={"memory": 1 << 31, "pids": 40, "cpu": 2_000_000}), "limits"),
    "no bound of processes": (
        replace(AS_PLANNED, cgroup={"memory": 1 << 30, "pids": None, "cpu": 2_000_000}),
        "limits",
    ),
    "half a processor more": (replace(AS_PLANNED, cgroup=dict(AS_PLANNED.cgroup) | {"cpu": 2_500_000}), "limits"),
    "all processors": (replace(AS_PLANNED, cgroup=dict(AS_PLANNED.cgroup) | {"cpu": None}), "limits"),
    "a call more": (replace(AS_PLANNED, filter=CALLS | {"ptrace": 0}), "seccomp"),
    "a call whatever its arguments": (replace(AS_PLANNED, filter=CALLS | {"clone": 0}), "seccomp"),
    "another ring": (replace(AS_PLANNED, sources=SOURCES | {"/m/raw": "0:99 /"}), "mounts"),
    "another folder of the ring": (replace(AS_PLANNED, sources=SOURCES | {"/m/clean": "0:32 /x"}), "mounts"),
    "another root": (replace(AS_PLANNED, sources=SOURCES | {"/m/root": "8:1 /home"}), "mounts"),
    "a source that nobody knows": (replace(AS_PLANNED, sources={"/m/root": "0:30 /"}), "mounts"),
    "core dumps": (replace(AS_PLANNED, limits={"Max core file size": 1 << 63}), "rlimits"),
    "a network": (replace(AS_PLANNED, interfaces=("lo", "eth0")), "network"),
    "a route": (replace(AS_PLANNED, routes=1), "network"),
    "another program": (replace(AS_PLANNED, words=("sh",)), "program"),
    "unseen": (replace(AS_PLANNED, unseen={"mounts": "Permission denied"}), "unseen"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_weaker_is_named(name: str) -> None:
    running, rule = CASES[name]
    assert found(running) == {f"drift-{rule}"}


def test_every_drift_rule_has_a_case() -> None:
    assert {f"drift-{rule}" for _, rule in CASES.values()} == {rule.id for rule, _ in DRIFT}


def test_a_program_of_others_is_asked_for_one_filter() -> None:
    process = bundle()["process"] | {"args": ["server"]}
    running = replace(status(Seccomp_filters="1"), words=("server",))
    assert found(running, process=process) == set()


def test_what_was_not_planned_is_not_missed() -> None:
    loose = status(NoNewPrivs="0", Seccomp="0")
    process = bundle()["process"] | {"noNewPrivileges": False}
    linux = {key: value for key, value in bundle()["linux"].items() if key != "seccomp"}
    assert found(loose, process=process, linux=linux) == set()


def test_a_finding_points_into_the_plan() -> None:
    (finding,) = drifted("config.json", planned(), status(Seccomp="0"))
    assert (finding.path, finding.found, finding.subject) == (
        "$.linux.seccomp",
        "mode 0, 2 filters, at least 2 expected",
        "Bundle/anonymize",
    )
    assert finding.line > 1
