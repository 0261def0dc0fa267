"""What the tests of real and fake runtimes share: small roots of the host's /usr, bundles, streams."""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from veilbox.core.digest import Digest
from veilbox.core.plan import Container, Limits, Mount
from veilbox.oci.admit import RunnableImage
from veilbox.oci.runtime.config import process_limits, runtime_config, write_bundle
from veilbox.oci.runtime.driver import ContainerProcess, Runtime
from veilbox.oci.runtime.ids import Allotment, IdRange
from veilbox.oci.runtime.jobs import Job
from veilbox.oci.runtime.mounts import mount_overlay
from veilbox.oci.runtime.namespaces import pin_empty_network
from veilbox.oci.runtime.seccomp import seccomp
from veilbox.seal.allowlist import syscalls

WAIT_MS = 20_000
HOST_FOLDERS = ("usr", "bin", "lib", "lib64")
SECCOMP: Mapping[str, Any] = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
}


def sh(script: str) -> tuple[str, ...]:
    return ("/usr/bin/sh", "-c", script)


def container(
    name: str, args: tuple[str, ...], *, memory: int = 64 << 20, pids: int = 24, mounts: tuple[Mount, ...] = ()
) -> Container:
    return Container(
        name=name,
        image=Digest("sha256:" + "0" * 64),
        args=args,
        env=("PATH=/usr/bin", "LC_ALL=C"),
        mounts=mounts,
        limits=Limits(memory_bytes=memory, pids=pids, cpus=1.0),
        syscalls=(),
    )


def make_layers(base: Path) -> tuple[Path, Path]:
    """Two folders that together are a root for the host's programs."""
    top, bottom = base / "top", base / "bottom"
    for folder in ("proc", "dev", "sys", "tmp", "ring"):
        (bottom / folder).mkdir(parents=True)
    for folder in HOST_FOLDERS:
        if Path("/", folder).exists():
            (top / folder).mkdir(parents=True)
    return top, bottom


def host_programs() -> list[dict[str, Any]]:
    return [
        {"destination": f"/{name}", "type": "bind", "source": f"/{name}", "options": ["rbind", "ro", "nosuid", "nodev"]}
        for name in HOST_FOLDERS
        if Path("/", name).exists()
    ]


@dataclass
class Running:
    """A created container and our ends of its streams."""

    container_id: str
    process: ContainerProcess
    control: socket.socket
    output: int
    ids: IdRange | None = None

    def text(self) -> str:
        """All that the container writes until its end."""
        parts = iter(lambda: os.read(self.output, 65536), b"")
        return b"".join(parts).decode()

    def ended(self) -> int:
        """Wait for the end; the exit status."""
        waiter = select.poll()
        waiter.register(self.process.fileno(), select.POLLIN)
        assert waiter.poll(WAIT_MS), "container does not end"
        status = self.process.exit_status()
        assert status is not None
        return status

    def close(self) -> None:
        self.process.close()
        self.control.close()
        os.close(self.output)


@dataclass
class Rig:
    """A runtime and what its containers need."""

    runtime: Runtime
    job: Job
    allotment: Allotment | None
    programs: Mapping[str, tuple[str, ...]]
    image: RunnableImage | None = None
    running: list[Running] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def bundle(self, plan: Container, mount_sources: Mapping[str, Path] | None = None) -> tuple[Path, IdRange | None]:
        bundle = self.job.bundle(plan.name)
        if self.allotment is None:
            write_bundle(bundle, {"process": {"args": list(plan.args)}})
            return bundle, None
        if self.image is not None:
            return self._bundle_of(self.image, self.allotment, bundle, plan, mount_sources or {})
        rootfs = self.job.mount_point(f"root-{plan.name}")
        mount_overlay(make_layers(self.job.path / f"layers-{plan.name}"), rootfs)
        ids = self.allotment.take()
        network = self.job.network(plan.name)
        pin_empty_network(network)
        config = runtime_config(
            plan,
            rootfs=rootfs,
            mount_sources=mount_sources or {},
            ids=ids,
            cgroups_path=self.job.cgroups_path(plan.name),
            seccomp=SECCOMP,
            hostname="veilbox",
            rlimits=process_limits(plan.limits, without_cgroup=not self.job.place.limited),
            network=network,
            dialect=self.runtime.dialect,
        )
        config["mounts"] += host_programs()
        write_bundle(bundle, config)
        return bundle, ids

    def _bundle_of(
        self,
        image: RunnableImage,
        allotment: Allotment,
        bundle: Path,
        plan: Container,
        mount_sources: Mapping[str, Path],
    ) -> tuple[Path, IdRange]:
        """For sealed processes: a component's own image and its list of system calls."""
        rootfs, ids = self.job.mount_point(f"root-{plan.name}"), allotment.take()
        mount_overlay(tuple(reversed(image.layers)), rootfs)
        config = runtime_config(
            plan,
            rootfs=rootfs,
            mount_sources=mount_sources,
            ids=ids,
            cgroups_path=None,
            seccomp=seccomp(syscalls("ingest"), platform.machine()),
            hostname="veilbox",
            rlimits=process_limits(plan.limits, without_cgroup=True),
            dialect=self.runtime.dialect,
        )
        write_bundle(bundle, config)
        return bundle, ids

    def create(self, args: tuple[str, ...], **settings: Any) -> Running:
        plan = container(f"c{next(self._numbers)}", args, **settings)
        bundle, ids = self.bundle(plan)
        return self.create_from(bundle, self.job.container_id(plan.name), ids)

    def create_from(self, bundle: Path, container_id: str, ids: IdRange | None = None) -> Running:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output, inlet = os.pipe()
        try:
            process = self.runtime.create(container_id, bundle, stdin=theirs.fileno(), stdout=inlet, stderr=inlet)
        except BaseException:
            ours.close()
            os.close(output)
            raise
        finally:
            theirs.close()
            os.close(inlet)
        ours.settimeout(WAIT_MS / 1000)
        made = Running(container_id, process, ours, output, ids)
        self.running.append(made)
        return made

    def run(self, args: tuple[str, ...], **settings: Any) -> tuple[int, str]:
        """Create and start; the exit status and all output."""
        made = self.create(args, **settings)
        self.runtime.start(made.container_id)
        text = made.text()
        return made.ended(), text

    def program(self, name: str) -> Running:
        return self.create(self.programs[name])

    def close(self) -> None:
        for made in self.running:
            self.runtime.delete(made.container_id)
            made.close()


@contextmanager
def restored_namespaces() -> Iterator[None]:
    """Come back to the mount namespace, the folder and the parenthood that the tests began with."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder = Path.cwd()
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    try:
        yield
    finally:
        result = libc.setns(home, 0)
        os.close(home)
        libc.prctl(36, 0, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        os.chdir(folder)
        assert result == 0
