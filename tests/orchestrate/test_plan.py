"""A plan is where least sight can be read: who mounts what, and how."""

from __future__ import annotations

import dataclasses

import pytest

from veilbox.core.digest import Digest
from veilbox.core.errors import UsageError
from veilbox.core.plan import SUPERVISOR, Mount, Plan
from veilbox.core.policy import Detection, Keep, Policy
from veilbox.orchestrate.plan import (
    Program,
    anonymize_plan,
    detect_plan,
    detectors,
    second_detectors,
    second_detectors_of,
)

NAMES = (
    "ingest",
    "detect-centerface",
    "detect-plates",
    "detect-objects",
    "anonymize",
    "export",
    "claim",
    "verify",
    "second-centerface",
    "second-plates",
    "audit",
)
PROGRAMS = {
    name: Program(image=Digest.of(name.encode()), args=("/usr/bin/python3", "-m", "veilbox.components"), env=())
    for name in NAMES
}

# The design's table of sight: component -> volume -> read-only.
SIGHT = {
    "ingest": {"raw": False, "analysis": False},
    "detect-centerface": {"analysis": True},
    "anonymize": {"raw": True, "clean": False},
    "export": {"clean": True},
    "verify": {"second": False},
    "second-centerface": {"second": True},
    "audit": {},
}


def _sight(plan: Plan) -> dict[str, dict[str, bool]]:
    return {one.name: {mount.volume: mount.read_only for mount in one.mounts} for one in plan.containers}


def test_each_component_sees_only_what_it_must() -> None:
    assert _sight(anonymize_plan(Policy(), PROGRAMS, cpus=2)) == SIGHT


def test_who_puts_manifests_in_sees_no_ring_and_is_there_only_where_they_are_wanted() -> None:
    plan = anonymize_plan(Policy(c2pa=True), PROGRAMS, cpus=2, output_bytes=5)
    assert _sight(plan) == SIGHT | {"claim": {}}
    assert plan.container("claim").limits.file_bytes == 5
    assert not [edge for edge in plan.edges if "claim" in (edge.producer, *edge.consumers)]


def test_detecting_alone_has_no_ring_of_full_frames() -> None:
    plan = detect_plan(Policy(), PROGRAMS, cpus=2)
    assert _sight(plan) == {"ingest": {"analysis": False}, "detect-centerface": {"analysis": True}}
    assert [edge.consumers for edge in plan.edges if edge.name == "boxes"] == [(SUPERVISOR,)]


BOTH = Policy(detection=Detection(classes=("plate", "face")))


def test_every_class_brings_its_detector_and_all_see_the_same_picture() -> None:
    plan = anonymize_plan(BOTH, PROGRAMS, cpus=2)
    assert _sight(plan) == SIGHT | {"detect-plates": {"analysis": True}, "second-plates": {"second": True}}
    edges = [(edge.name, edge.producer, edge.consumers) for edge in plan.edges]
    assert ("analysis", "ingest", ("detect-centerface", "detect-plates")) in edges
    for name in ("detect-centerface", "detect-plates"):
        assert ("boxes", name, ("anonymize",)) in edges
    assert detectors(Policy(detection=Detection(classes=("plate",)))) == ("detect-plates",)


def test_the_second_look_has_processes_of_its_own_that_see_what_verify_shows_alone() -> None:
    plan = anonymize_plan(BOTH, PROGRAMS, cpus=2)
    assert second_detectors(BOTH) == {"second-centerface": "detect-centerface", "second-plates": "detect-plates"}
    assert second_detectors_of(plan) == ("second-centerface", "second-plates")
    edges = [(edge.name, edge.producer, edge.consumers) for edge in plan.edges]
    assert ("second", "verify", ("second-centerface", "second-plates")) in edges
    assert ("boxes", "second-plates", ("verify",)) in edges


def test_classes_of_one_model_share_its_container() -> None:
    several = Policy(detection=Detection(classes=("truck", "face", "person")))
    assert detectors(several) == ("detect-centerface", "detect-objects")


@pytest.mark.parametrize("classes", [(), ("face", "gait")])
def test_a_class_that_nothing_detects_is_refused(classes: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="nothing detects"):
        detectors(Policy(detection=Detection(classes=classes)))


@pytest.mark.parametrize(("keep", "expected"), [((), False), ((Keep.AUDIO,), True)])
def test_audio_has_an_edge_only_if_the_policy_keeps_it(keep: tuple[Keep, ...], expected: bool) -> None:
    edges = {edge.name for edge in anonymize_plan(Policy(keep=keep), PROGRAMS, cpus=2).edges}
    assert ("audio" in edges) is expected


def test_limits_never_exceed_the_machine() -> None:
    for container in anonymize_plan(Policy(), PROGRAMS, cpus=1).containers:
        assert 0 < container.limits.cpus <= 1
        assert container.limits.memory_bytes > 0
        assert container.limits.pids > 0


@pytest.mark.parametrize(
    ("name", "mount"),
    [
        ("export", Mount(volume="raw", destination="/rings/raw", read_only=True)),
        ("audit", Mount(volume="clean", destination="/rings/clean", read_only=True)),
        ("anonymize", Mount(volume="analysis", destination="/rings/analysis", read_only=False)),
        ("detect-centerface", Mount(volume="second", destination="/rings/second", read_only=True)),
    ],
)
def test_one_mount_too_many_is_no_plan(name: str, mount: Mount) -> None:
    plan = anonymize_plan(Policy(), PROGRAMS, cpus=2)
    containers = tuple(
        dataclasses.replace(one, mounts=(*one.mounts, mount)) if one.name == name else one for one in plan.containers
    )
    with pytest.raises(UsageError, match="ring's volume"):
        dataclasses.replace(plan, containers=containers)


def test_a_ring_writable_by_its_reader_is_no_plan() -> None:
    plan = anonymize_plan(Policy(), PROGRAMS, cpus=2)
    containers = tuple(
        dataclasses.replace(one, mounts=tuple(dataclasses.replace(mount, read_only=False) for mount in one.mounts))
        for one in plan.containers
    )
    with pytest.raises(UsageError, match="read-only for its consumers"):
        dataclasses.replace(plan, containers=containers)


def test_a_component_writes_no_larger_file_than_its_rings_or_what_it_is_handed() -> None:
    plan = anonymize_plan(Policy(), PROGRAMS, cpus=2, output_bytes=5)
    volumes = {volume.name: volume.size_bytes for volume in plan.volumes}
    bounds = {container.name: container.limits.file_bytes for container in plan.containers}
    assert bounds["ingest"] == max(volumes["raw"], volumes["analysis"])
    assert bounds["anonymize"] == volumes["clean"]
    assert (bounds["export"], bounds["audit"]) == (5, None)
    assert bounds["detect-centerface"] == bounds["second-centerface"] == 1 << 20
