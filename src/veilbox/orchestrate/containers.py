"""Launch a plan as OCI containers on this machine.

All mounts are made in the supervisor's private mount namespace: overlays and rings vanish with it, whatever ends it.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from veilbox.core.errors import MachineError
from veilbox.core.plan import Container, Plan
from veilbox.metrics.cgroup import Meter
from veilbox.metrics.process_io import process_io
from veilbox.metrics.process_usage import process_usage
from veilbox.oci.image.merge import merged
from veilbox.oci.runtime.config import process_limits, runtime_config, write_bundle
from veilbox.oci.runtime.driver import OciRuntime
from veilbox.oci.runtime.ids import USER, Allotment, IdRange
from veilbox.oci.runtime.mounts import OverlayRefused, mount_overlay, mount_tmpfs
from veilbox.oci.runtime.namespaces import pin_empty_network
from veilbox.oci.runtime.seccomp import seccomp
from veilbox.orchestrate.launcher import Cost, Launched, Root
from veilbox.seal.observe import observe
from veilbox.seal.observe_sandbox import observe_sandbox
from veilbox.seal.trial_group import Trial, bounds
from veilbox.transport.control import SupervisorControl

if TYPE_CHECKING:
    from veilbox.core.isolation import Gate
    from veilbox.oci.admit import RunnableImage
    from veilbox.oci.runtime.cgroups import Place
    from veilbox.oci.runtime.driver import ContainerProcess, Runtime
    from veilbox.oci.runtime.jobs import Job

# The group in which limits are tried; no component has such a name.
_TRIAL = "limits-trial"
# What a component may print before its last words: a start-up error's traceback fits.
_LOG_BYTES = 8192


class _Container:
    """One running container; see `Launched`."""

    def __init__(self, name: str, control: SupervisorControl, log: int, meter: Meter | None) -> None:
        self.name = name
        self.control = control
        self.rings: dict[str, str] = {}
        self.root: Root | None = None
        self.create_ms = 0.0
        self.start_ns = 0
        self.process: ContainerProcess | None = None
        self.peers: Mapping[str, int] = {}
        self.keeper: Path | None = None
        self.bounds: Callable[[], Gate] | None = None
        self._log = log
        self._meter = meter
        self._printed = b""

    def fileno(self) -> int:
        return -1 if self.process is None else self.process.fileno()

    def exit_status(self) -> int | None:
        return None if self.process is None else self.process.exit_status()

    def last_words(self) -> str:
        self._drain()
        lines = self._printed.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def observe(self) -> tuple[Gate, ...]:
        if self.process is None:
            return ()
        if self.keeper is None:
            seen = observe(self.process.pid, peers=self.peers)
        else:
            seen = observe_sandbox(self.process.pid, program=self.keeper, peers=self.peers)
        return seen if self.bounds is None else (*seen, self.bounds())

    def cost(self) -> Cost:
        self._drain()
        io = None if self.process is None else process_io(self.process.pid)
        read, written = (io.read_chars, io.written_chars) if io else (None, None)
        if self._meter is None:
            own = None if self.process is None else process_usage(self.process.pid)
            return Cost(
                cpu_s=own.cpu_s if own else None,
                memory_peak_bytes=own.peak_resident_bytes if own else None,
                read_bytes=read,
                written_bytes=written,
            )
        usage = self._meter.read()
        return Cost(
            cpu_s=usage.cpu_s,
            memory_peak_bytes=usage.memory_peak_bytes,
            read_bytes=read,
            written_bytes=written,
            out_of_memory=usage.oom_kills or 0,
        )

    def end(self) -> None:
        if self.process is not None:
            self.process.signal(9)

    def _drain(self) -> None:
        """Keep the first bytes printed and let the rest go, so that a chatty component never blocks on the pipe."""
        while True:
            try:
                chunk = os.read(self._log, 65536)
            except BlockingIOError:
                return
            if not chunk:
                return
            self._printed = (self._printed + chunk)[:_LOG_BYTES]

    def close(self) -> None:
        self.control.close()
        if self.process is not None:
            self.process.close()
            self.process = None
        if self._log >= 0:
            os.close(self._log)
            self._log = -1


class ContainerLauncher:
    """Runs plans with one runtime in one job folder.

    Args:
        runtime: crun, runc or another OCI runtime.
        job: The run directory's folder of this supervisor.
        place: Where control groups go.
        images: Admitted images by container name.
        ids: Folder of id locks.
    """

    def __init__(
        self, runtime: Runtime, job: Job, place: Place, images: Mapping[str, RunnableImage], ids: Path
    ) -> None:
        self.runtime = f"{runtime.name} {runtime.version}"
        self._runtime = runtime
        self._job = job
        self._place = place
        self._images = images
        self._containers: dict[str, _Container] = {}
        self._stack = ExitStack()
        self._trial = Trial(place.directories(job.job_id, _TRIAL))
        self._stack.callback(self._trial.close)
        self._allotment = self._stack.enter_context(Allotment(ids))

    def launch(self, plan: Plan) -> dict[str, Launched]:
        """Create all containers of a plan side by side, and only then start them.

        A component that is started imports libraries, which takes a processor: those still to be created would wait.
        """
        self._trial.start()  # before there are threads, beside which a fork is no good idea
        ids = {container.name: self._ids() for container in plan.containers}
        volumes = self._volumes(plan, ids)
        with ThreadPoolExecutor(max_workers=len(plan.containers)) as pool:
            created = [
                pool.submit(self._create, container, volumes, ids[container.name]) for container in plan.containers
            ]
            wait(created)
            for job in created:
                job.result()
            for job in [pool.submit(self._start, container.name) for container in plan.containers]:
                job.result()
        self._introduce()
        return dict(self._containers)

    def _ids(self) -> IdRange:
        return self._allotment.take()

    def _volumes(self, plan: Plan, ids: Mapping[str, IdRange]) -> dict[str, Path]:
        """One tmpfs for each ring, owned by its producer's user."""
        owners = {edge.volume: edge.producer for edge in plan.edges if edge.volume is not None}
        volumes: dict[str, Path] = {}
        for volume in plan.volumes:
            path = self._job.mount_point(f"volume-{volume.name}")
            self._make_volume(path, volume.size_bytes, ids[owners[volume.name]].host_id(USER))
            volumes[volume.name] = path
        return volumes

    def _make_volume(self, path: Path, size_bytes: int, owner_id: int) -> None:
        mount_tmpfs(path, size_bytes, owner_id)

    def _create(self, container: Container, volumes: Mapping[str, Path], ids: IdRange) -> None:
        name = container.name
        rootfs, root = self._root(name)
        bundle = self._job.bundle(name)
        config = runtime_config(
            container,
            rootfs=rootfs,
            mount_sources=volumes,
            ids=ids,
            cgroups_path=self._place.path(self._job.job_id, name),
            seccomp=seccomp(container.syscalls, platform.machine(), errno=self._runtime.dialect.errno_of_filters),
            hostname=name,
            rlimits=process_limits(container.limits, without_cgroup=not self._place.limited),
            network=self._network(name),
            dialect=self._runtime.dialect,
        )
        write_bundle(bundle, config)
        self._create_in(container, bundle, root, volumes)

    def _root(self, name: str) -> tuple[Path, Root]:
        """Where an image's files are, and how they came there."""
        rootfs = self._job.mount_point(f"root-{name}")
        return rootfs, self._mount_root(name, rootfs)

    def _network(self, name: str) -> Path | None:
        network = self._job.network(name)
        pin_empty_network(network)
        return network

    def _rings(self, container: Container, _volumes: Mapping[str, Path]) -> dict[str, str]:
        """Where a component finds the volumes of its rings."""
        return {mount.volume: mount.destination for mount in container.mounts}

    def _mount_root(self, name: str, rootfs: Path) -> Root:
        layers = self._images[name].layers
        try:
            mount_overlay(tuple(reversed(layers)), rootfs)
        except OverlayRefused:
            mount_overlay((merged(layers),), rootfs)
            return Root.MERGED
        return Root.OVERLAY

    def _create_in(self, container: Container, bundle: Path, root: Root, volumes: Mapping[str, Path]) -> None:
        name = container.name
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        log, printed = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(log, False)
        launched = _Container(name, SupervisorControl(ours, name), log, self._meter(name))
        launched.root = root
        launched.keeper = self._keeper()
        launched.bounds = partial(self._bounds, container)
        self._containers[name] = launched
        container_id = self._job.container_id(name)
        try:
            before = time.monotonic_ns()
            launched.process = self._runtime.create(
                container_id, bundle, stdin=theirs.fileno(), stdout=printed, stderr=printed
            )
            launched.rings = self._rings(container, volumes)
            launched.create_ms = (time.monotonic_ns() - before) / 1e6
        finally:
            theirs.close()
            os.close(printed)

    def _start(self, name: str) -> None:
        self._containers[name].start_ns = time.monotonic_ns()
        self._runtime.start(self._job.container_id(name))

    def _keeper(self) -> Path | None:
        """The program that keeps a kernel of its own, where the runtime has one."""
        runtime = self._runtime
        return runtime.binary if isinstance(runtime, OciRuntime) and runtime.dialect.own_kernel else None

    def _bounds(self, container: Container) -> Gate:
        """Whether the plan's limits are in force, and bite."""
        return bounds(
            self._place.directories(self._job.job_id, container.name),
            memory_bytes=container.limits.memory_bytes,
            pids=container.limits.pids + self._runtime.dialect.more_pids,
            cpus=container.limits.cpus,
            trial=self._trial.outcome(),
        )

    def _meter(self, name: str) -> Meter | None:
        path = self._place.path(self._job.job_id, name)
        return None if path is None else Meter.at(path)

    def _introduce(self) -> None:
        """Tell every container's observer who the others are."""
        pids = {name: one.process.pid for name, one in self._containers.items() if one.process is not None}
        for name, one in self._containers.items():
            one.peers = {other: pid for other, pid in pids.items() if other != name}

    def memory_peak_bytes(self) -> int | None:
        """By the kernel's mark of the group that holds the containers' groups."""
        path = self._place.job_path(self._job.job_id)
        return None if path is None else Meter.at(path).read().memory_peak_bytes

    def stop(self) -> None:
        """Kill and delete every container; the first failure is raised after all were tried."""
        containers, self._containers = self._containers, {}
        failures: list[Exception] = []
        for one in containers.values():
            if one.process is not None:
                one.process.signal(9)
        with ThreadPoolExecutor(max_workers=max(1, len(containers))) as pool:
            deletions = [pool.submit(self._runtime.delete, self._job.container_id(name)) for name in containers]
        for deletion in deletions:
            error = deletion.exception()
            if isinstance(error, Exception):
                failures.append(error)
        for one in containers.values():
            one.close()
        self._stack.close()
        if failures:
            raise MachineError("a container could not be removed", actual=str(failures[0])) from failures[0]
