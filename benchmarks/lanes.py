"""The lanes row: as many pods as there are cores, each held to one, against one pod on one core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import contenders
from contenders import Command, say, together
from figures import Figure

_TASKSET = "/usr/bin/taskset"


def figures(film: Path, rounds: int) -> Iterator[Figure]:
    """Measure one lane and all lanes by turns.

    A component asks how many processors it may use, so that a pod held to one core makes threads for one.
    """
    cores = sorted(os.sched_getaffinity(0))
    scaled = []
    for number in range(rounds):
        say(f"lanes: round {number + 1} of {rounds}")
        alone = together([lane(film, cores[0])]).seconds
        scaled.append(len(cores) * alone / together(lane(film, core) for core in cores).seconds)
    yield Figure(
        name=f"lanes: {len(cores)} pods on {len(cores)} cores, throughput of one pod on one core",
        unit="times",
        values=tuple(scaled),
        goal=f">= {0.9 * len(cores):.1f}",
    )


def lane(film: Path, core: int) -> Command:
    """A pod and its supervisor on one core, with an output of its own."""
    return [_TASKSET, "-c", str(core), *contenders.sealed(film, name=f"lane-{core}")]
