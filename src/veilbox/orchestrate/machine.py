"""This machine as the engine of jobs: namespaces entered, leftovers swept, images admitted, a runtime chosen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from veilbox.core.digest import Digest
from veilbox.core.policy import Policy
from veilbox.oci.admit import RunnableImage, Trust, admit
from veilbox.oci.image.lease import Lease, lease, uncollected
from veilbox.oci.image.merge import merged_digest
from veilbox.oci.image.store import ImageStore
from veilbox.oci.models.artifact import model_name
from veilbox.oci.runtime import cgroups
from veilbox.oci.runtime.dialect import KNOWN as KNOWN_RUNTIMES
from veilbox.oci.runtime.dialect import candidates
from veilbox.oci.runtime.driver import RuntimeFacts, choose, discover
from veilbox.oci.runtime.jobs import Job, RunDirectory, new_job_id
from veilbox.oci.runtime.monitor import monitored
from veilbox.oci.runtime.namespaces import enter_private_namespaces
from veilbox.oci.trust.verify import Admission
from veilbox.orchestrate.containers import ContainerLauncher
from veilbox.orchestrate.interruption import uninterrupted
from veilbox.orchestrate.models import DetectModels, furnished, of_second_look
from veilbox.orchestrate.plan import Program
from veilbox.orchestrate.processes import is_sealing, sealing_launcher
from veilbox.seal.allowlist import syscalls
from veilbox.seal.canary import remove_forgotten


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """What a job runs on.

    Attributes:
        job_id: This supervisor's name in the run directory and in the report.
        images: By component name.
        models: By detect component, the model that takes the place of the image's; None where that runs.
        cpus: Processors that this process may use.
    """

    job_id: str
    launcher: ContainerLauncher
    images: Mapping[str, RunnableImage]
    models: DetectModels
    cpus: int

    @property
    def detectors(self) -> tuple[str, ...]:
        """The detect components."""
        return tuple(self.models)

    @property
    def admissions(self) -> dict[str, Admission]:
        """Why each image, and each model that is none's, was let in."""
        models = [model for model in self.models.values() if model is not None and model.admission is not None]
        return {name: image.admission for name, image in self.images.items()} | {
            model_name(model.name): model.admission for model in models if model.admission is not None
        }

    @property
    def programs(self) -> dict[str, Program]:
        """What a plan needs to know of the images."""
        return {
            name: Program(
                image=image.manifest,
                args=image.entrypoint,
                env=image.env,
                syscalls=syscalls(name),
                model=image.model,
            )
            for name, image in self.images.items()
        }


def runtimes(policy: Policy) -> tuple[str, ...]:
    """Those that may run a policy's jobs, the preferred one first."""
    return candidates(policy.runtime, policy.minimum_isolation)


# Plans without verify have none.
_NO_SECOND_LOOK: Mapping[str, str] = MappingProxyType({})


def _no_detectors(_: Trust) -> DetectModels:
    return {}


@contextmanager
def engine(
    store: ImageStore,
    names: Sequence[str],
    *,
    detect: Callable[[Trust], DetectModels] = _no_detectors,
    second: Mapping[str, str] = _NO_SECOND_LOOK,
    runtimes: Sequence[str] = KNOWN_RUNTIMES,
) -> Iterator[Engine]:
    """Make this process a supervisor, for its whole life: its namespaces cannot be left again.

    Args:
        store: Where the component images are.
        names: The components that the plan will need, besides detectors.
        detect: Says which detectors it will need, and which models run in them.
        second: The components of its second look, and the images that they run.
        runtimes: Those that may be taken, the preferred one first.

    Raises:
        ImageError: An image is missing or stale.
        MachineError: The machine has no usable runtime, or refuses the namespaces.
    """
    with lease(store.root) as held:
        images, models = _admitted(store, names, detect, second, held)
        # Both before the namespaces: afterwards every user looks like root, and foreign mounts are out of sight.
        run = RunDirectory.here()
        run.sweep()
        remove_forgotten()
        stack = ExitStack()
        try:
            try:
                with uninterrupted():
                    job_id = new_job_id()
                    stack.enter_context(monitored(run, job_id, remove_forgotten))
                    if not is_sealing(runtimes) or os.geteuid() == 0:  # a sealed process of ours needs no right
                        enter_private_namespaces()
                    made = _engine(run, job_id, images, models, stack, runtimes)
                yield made
            finally:
                _close(stack)
        finally:
            # A signal may have been answered before the first call had begun. There is no second one: the answer to
            # the first is to ignore all that follow.
            _close(stack)


def _admitted(
    store: ImageStore,
    names: Sequence[str],
    detect: Callable[[Trust], DetectModels],
    second: Mapping[str, str],
    held: Lease,
) -> tuple[dict[str, RunnableImage], DetectModels]:
    """Admit images and models, and keep their layers from being collected while the job runs."""
    trust = Trust.of(store)  # one policy and one moment for the whole job
    with uncollected(store.root):
        models = detect(trust)
        images = {name: admit(store, name, trust=trust) for name in names}
        images |= {name: furnished(store, name, model, trust) for name, model in models.items()}
        images |= {name: of_second_look(store, image, trust) for name, image in second.items()}
        for image in images.values():
            held.add_found([image.manifest, *(Digest(f"sha256:{folder.name}") for folder in image.layers)])
            held.add_found([merged_digest(image.layers)])  # which is made only where overlays are refused
        held.add_found(model.manifest for model in models.values() if model is not None)
    return images, models


def _engine(
    run: RunDirectory,
    job_id: str,
    images: Mapping[str, RunnableImage],
    models: DetectModels,
    stack: ExitStack,
    runtimes: Sequence[str],
) -> Engine:
    place = None if is_sealing(runtimes) else cgroups.place()
    # With its place, so that who sweeps after a kill knows its cgroups.
    job = stack.enter_context(run.open_job(place, job_id=job_id))
    facts = discover(runtimes)
    launcher = (
        sealing_launcher(facts, job, images, run.ids)
        if is_sealing(runtimes)
        else _launcher(facts, job, images, run.ids)
    )
    stack.callback(launcher.stop)
    cpus = len(os.sched_getaffinity(0))
    return Engine(job_id=job.job_id, launcher=launcher, images=images, models=models, cpus=cpus)


def _launcher(
    facts: Sequence[RuntimeFacts], job: Job, images: Mapping[str, RunnableImage], ids: Path
) -> ContainerLauncher:
    runtime = choose(facts, root=job.runtime_root, limited=job.place.limited)
    return ContainerLauncher(runtime, job, job.place, images, ids)


def _close(stack: ExitStack) -> None:
    with uninterrupted():
        stack.close()
