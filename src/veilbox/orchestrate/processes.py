"""Launch a plan as sealed processes, where a machine has no container runtime or grants none.

Weaker than containers, and only where the policy names it: the components share the host's mounts, and what they may
open there is Landlock's to say. Root lays overlays and gives each component a user of its own; an ordinary user has
merged folders, and its components are all itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import veilbox
from veilbox.core.errors import MachineError
from veilbox.core.plan import Container
from veilbox.oci.admit import RunnableImage
from veilbox.oci.image.merge import merged
from veilbox.oci.runtime.dialect import PROCESS
from veilbox.oci.runtime.driver import RuntimeFacts, unusable
from veilbox.oci.runtime.ids import USER, IdLine, IdRange
from veilbox.oci.runtime.jobs import Job
from veilbox.oci.runtime.processes import ProcessRuntime
from veilbox.orchestrate import sealed_process
from veilbox.orchestrate.containers import ContainerLauncher
from veilbox.orchestrate.launcher import Root


def is_sealing(runtimes: Sequence[str]) -> bool:
    """Whether a job is to run as sealed processes; they are never one choice among several."""
    return tuple(runtimes) == (PROCESS,)


def process_runtime(version: str, root: Path) -> ProcessRuntime:
    """Sealed processes made by this Python.

    Args:
        version: Of what the kernel offers, told in reports.
        root: As for `ProcessRuntime`.
    """
    program = (sys.executable, "-s", "-P", Path(sealed_process.__file__))
    variables = {"PYTHONPATH": str(Path(veilbox.__file__).parents[1])}
    return ProcessRuntime(program, version=version, root=root, variables=variables)


def sealing_launcher(
    facts: Sequence[RuntimeFacts], job: Job, images: Mapping[str, RunnableImage], ids: Path
) -> ContainerLauncher:
    """The launcher of a job's sealed processes.

    Args:
        facts: What `discover` says of them.
        job: As for `ContainerLauncher`.
        images: Likewise.
        ids: Likewise.

    Raises:
        MachineError: The kernel lacks what they need.
    """
    if not all(fact.usable for fact in facts):
        raise unusable(facts)
    kind = ProcessLauncher if os.geteuid() == 0 else OrdinaryProcessLauncher
    return kind(process_runtime(facts[0].version, job.runtime_root), job, images, ids)


class ProcessLauncher(ContainerLauncher):
    """Runs plans as sealed processes, as root: each with a user of its own."""

    def __init__(self, runtime: ProcessRuntime, job: Job, images: Mapping[str, RunnableImage], ids: Path) -> None:
        super().__init__(runtime, job, job.place, images, ids)
        self._sealing = runtime

    def _network(self, _name: str) -> Path | None:
        return None  # each makes its own

    def _rings(self, container: Container, volumes: Mapping[str, Path]) -> dict[str, str]:
        if self._sealing.has_own_root(self._job.container_id(container.name)):
            return super()._rings(container, volumes)
        return {mount.volume: str(volumes[mount.volume]) for mount in container.mounts}


class OrdinaryProcessLauncher(ProcessLauncher):
    """The same for an ordinary user, who can mount nothing and be nobody else."""

    def _ids(self) -> IdRange:
        return IdRange(lines=(IdLine(container=USER, host=os.geteuid(), size=1),))

    def _make_volume(self, path: Path, size_bytes: int, owner_id: int) -> None:
        """The folder itself, which lies in memory; what is written there is bounded by file, not as a whole."""
        del size_bytes, owner_id
        try:
            path.chmod(0o700)
        except OSError as error:
            raise MachineError(
                "ring's folder cannot be closed", where=str(path), actual=error.strerror or ""
            ) from error

    def _root(self, name: str) -> tuple[Path, Root]:
        return merged(self._images[name].layers), Root.MERGED
