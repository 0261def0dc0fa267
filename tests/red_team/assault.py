"""Starts a job's pod with a hostile stand-in for every component, hands each what a job would, and prints the outcome.

    assault.py RUNTIME taken-over|never-sealed|unfiltered FOLDER

Prints JSON: by component, what its stand-in says of every attempt. A process of its own, because it becomes a
supervisor.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path

from changed_config import changed, without_filter
from hostile_layer import NEVER_SEALED, TAKEN_OVER, stand_ins

from veilbox.core.control import OpenItem, OpenOutput, Probed, ToComponent
from veilbox.core.errors import ComponentDied
from veilbox.core.isolation import Gate
from veilbox.core.policy import Policy
from veilbox.core.stream import Kind
from veilbox.oci.image.store import ImageStore
from veilbox.oci.runtime.mounts import read_only_clone
from veilbox.orchestrate.anonymize import FIXED
from veilbox.orchestrate.machine import engine
from veilbox.orchestrate.plan import anonymize_plan, detectors, second_detectors
from veilbox.orchestrate.pod import Member, Pod
from veilbox.seal.canary import planted

PATIENCE_S = 60.0
_SOURCE = bytes(8192)
MODULES = {"taken-over": TAKEN_OVER, "never-sealed": NEVER_SEALED, "unfiltered": NEVER_SEALED}


def assault(runtime: str, kind: str, folder: Path) -> dict[str, list[Gate]]:
    """Every stand-in's report."""
    policy = Policy()
    names = detectors(policy)
    modules = dict.fromkeys((*FIXED, *names), MODULES[kind])
    with (
        stand_ins(folder, modules),
        changed(without_filter, "") if kind == "unfiltered" else nullcontext(),
        engine(
            ImageStore.default(),
            FIXED,
            detect=lambda _: dict.fromkeys(names),
            second=second_detectors(policy),
            runtimes=(runtime,),
        ) as machine,
    ):
        plan = anonymize_plan(policy, machine.programs, cpus=machine.cpus, detect=names)
        with planted() as canaries, Pod(plan, machine.launcher, policy, canaries) as pod:
            found = {name: _reported(name, member) for name, member in pod.members.items()}
            for name, message, descriptor in _items(folder):
                pod.send(name, message, [descriptor])
                os.close(descriptor)
                found[name] += _reported(name, pod.members[name])
            if (folder / "source").read_bytes() != _SOURCE:
                raise SystemExit("the source was written")
            return found


def _items(folder: Path) -> list[tuple[str, ToComponent, int]]:
    """What ingest, export and verify are handed in a job, made as a job makes it."""
    source = folder / "source"
    source.write_bytes(_SOURCE)
    source.chmod(0o666)  # it is the mount that must keep it from writers
    output = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o644)
    os.write(output, bytes(8192))
    finished = os.open(f"/proc/self/fd/{output}", os.O_RDONLY)
    opened = OpenOutput(
        item=0, suffix="mp4", kind=Kind.FILM, width=8, height=8, rotation=0, frames=1, times="", metadata=""
    )
    return [
        ("ingest", OpenItem(item=0), read_only_clone(source)),
        ("export", OpenItem(item=0, suffix="mp4"), output),
        ("verify", opened, finished),
    ]


def _reported(name: str, member: Member) -> list[Gate]:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with suppress(ComponentDied):
            received = member.launched.control.receive()
            if received is not None and isinstance(received[0], Probed):
                return list(received[0].gates)
        if member.launched.exit_status() is not None:
            break
        time.sleep(0.02)
    raise SystemExit(f"{name}'s stand-in did not report: {member.launched.last_words()}")


if __name__ == "__main__":
    reports = assault(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    sys.stdout.write(json.dumps({name: [asdict(gate) for gate in gates] for name, gates in reports.items()}))
