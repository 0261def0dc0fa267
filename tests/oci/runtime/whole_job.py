"""A whole job's life as a program of its own, for users other than the tests' and for supervisors that get killed.

usage: whole_job.py MODE RUNTIME SECCOMP-JSON    MODE: finish | hang
Prints one JSON object when its container runs; `finish` then ends in order, `hang` waits to be killed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from veilbox.core.digest import Digest
from veilbox.core.plan import Container, Limits, Mount
from veilbox.oci.runtime import cgroups
from veilbox.oci.runtime.config import process_limits, runtime_config, write_bundle
from veilbox.oci.runtime.driver import choose, discover
from veilbox.oci.runtime.ids import USER, Allotment
from veilbox.oci.runtime.jobs import Job, RunDirectory
from veilbox.oci.runtime.mounts import mount_overlay, mount_tmpfs
from veilbox.oci.runtime.namespaces import enter_private_namespaces, pin_empty_network

HOST_FOLDERS = ("usr", "bin", "lib", "lib64")
SCRIPT = (
    "touch /ring/x && echo volume; touch /ring2/x || echo closed; touch /x || echo sealed; "
    "cat /proc/self/uid_map; grep -E '^(Uid|CapEff|Seccomp):' /proc/self/status; cat /proc/net/fib_trie; echo end; "
    "dd bs=1 count=1 status=none"
)


def _layers(job: Job) -> list[Path]:
    layers = [job.path / "layers" / name for name in ("top", "bottom")]
    for folder in ("proc", "dev", "sys", "ring", "ring2"):
        (layers[1] / folder).mkdir(parents=True)
    for folder in HOST_FOLDERS:
        (layers[0] / folder).mkdir(parents=True)
    return layers


def _bundle(job: Job, allotment: Allotment, seccomp: dict[str, Any]) -> Path:
    ids = allotment.take()
    plan = Container(
        name="ingest",
        image=Digest("sha256:" + "0" * 64),
        args=("/usr/bin/sh", "-c", SCRIPT),
        env=("PATH=/usr/bin",),
        mounts=(
            Mount(volume="mine", destination="/ring", read_only=False),
            Mount(volume="other", destination="/ring2", read_only=True),
        ),
        limits=Limits(memory_bytes=64 << 20, pids=20, cpus=1.0),
        syscalls=(),
    )
    rootfs, mine, other = (job.mount_point(name) for name in ("root", "mine", "other"))
    mount_overlay(_layers(job), rootfs)
    mount_tmpfs(mine, 65536, ids.host_id(USER))
    mount_tmpfs(other, 65536, ids.host_id(USER))
    pin_empty_network(job.network("ingest"))
    config = runtime_config(
        plan,
        rootfs=rootfs,
        mount_sources={"mine": mine, "other": other},
        ids=ids,
        cgroups_path=job.cgroups_path("ingest"),
        seccomp=seccomp,
        hostname="veilbox",
        rlimits=process_limits(plan.limits, without_cgroup=not job.place.limited),
        network=job.network("ingest"),
    )
    config["mounts"] += [
        {"destination": f"/{name}", "type": "bind", "source": f"/{name}", "options": ["rbind", "ro"]}
        for name in HOST_FOLDERS
    ]
    write_bundle(job.bundle("ingest"), config)
    return job.bundle("ingest")


def main(mode: str, runtime_name: str, seccomp: str) -> None:
    run = RunDirectory.here()
    swept = run.sweep()
    enter_private_namespaces()
    place = cgroups.place()
    with run.open_job(place) as job, Allotment(run.ids) as allotment:
        runtime = choose(discover([runtime_name]), root=job.runtime_root, limited=place.limited)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output, inlet = os.pipe()
        bundle = _bundle(job, allotment, json.loads(seccomp))
        container_id = job.container_id("ingest")
        begun = time.perf_counter()
        process = runtime.create(container_id, bundle, stdin=theirs.fileno(), stdout=inlet, stderr=inlet)
        created = time.perf_counter()
        runtime.start(container_id)
        started = time.perf_counter()
        theirs.close()
        os.close(inlet)
        text = b""
        while b"\nend\n" not in text:
            text += os.read(output, 65536) or b"\nend\n"
        answer = {
            "job": job.job_id,
            "path": str(job.path),
            "swept": swept,
            "limited": place.limited,
            "cgroups": [str(folder) for folder in place.job_folders(job.job_id)],
            "pid": int(Path("/proc/self").readlink().name),
            "text": text.decode(),
        }
        print(json.dumps(answer), flush=True)  # noqa: T201
        if mode == "hang":
            signal.pause()
        ended = time.perf_counter()
        runtime.delete(container_id)
        deleted = time.perf_counter()
        steps = {"create": created - begun, "start": started - created, "delete": deleted - ended}
        times = {name: round(seconds * 1000, 1) for name, seconds in steps.items()}
        print(json.dumps({"status": process.exit_status(), "ms": times}))  # noqa: T201
        ours.close()


if __name__ == "__main__":
    main(*sys.argv[1:4])
