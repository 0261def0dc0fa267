"""Try a model where its bytes may be read: in a detector's sealed container, which sees nothing else.

There its structure is looked at, the runtime loads it, and it looks at one blank picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from veilbox.core.errors import ProtocolError, UsageError, VeilboxError
from veilbox.core.policy import Policy
from veilbox.oci.image.store import ImageStore
from veilbox.oci.models.admit import RunnableModel
from veilbox.orchestrate.machine import Engine, engine
from veilbox.orchestrate.models import DetectModels
from veilbox.orchestrate.plan import DETECT, trial_plan
from veilbox.orchestrate.pod import Pod
from veilbox.seal.canary import planted


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """What a detector said of its model once it had loaded it.

    Attributes:
        classes: What it finds.
        model: The digest of the weights, as it computed it.
        isolation: The measured level of its walls.
    """

    classes: tuple[str, ...]
    model: str
    isolation: int


def try_model(store: ImageStore, model: RunnableModel) -> Tried:
    """Try one model; this process becomes a supervisor for it, and stays one.

    Args:
        store: Where detectors' images are.
        model: It; nothing need have been said of its trust yet.

    Raises:
        ImageError: The model is not what it must be, or a detector's image is refused.
        ComponentError: The model brought its container down.
        MachineError: Nothing can run here.
    """
    with trials(store, {f"{DETECT}{model.name}": model}) as machine:
        return tried(machine, f"{DETECT}{model.name}")


@contextmanager
def trials(store: ImageStore, models: DetectModels) -> Iterator[Engine]:
    """A machine on which models can be tried, one after the other."""
    with engine(store, (), detect=lambda _: models) as machine:
        yield machine


def tried(machine: Engine, name: str) -> Tried:
    """Run one detector to the moment when it could take its first picture.

    Raises:
        VeilboxError: Of the model, or of the machine.
    """
    policy = Policy()
    plan = trial_plan(name, machine.programs, cpus=len(os.sched_getaffinity(0)))
    with planted() as canaries, Pod(plan, machine.launcher, policy, canaries) as pod:
        pod.await_ready()
        member = pod.members[name]
        pod.finish()
    if member.ready is None:
        raise ProtocolError("is not ready", where=name)
    return Tried(classes=member.ready.classes, model=member.ready.model, isolation=int(member.measured.level))


def faults_of(store: ImageStore, models: DetectModels) -> Mapping[str, VeilboxError | None]:
    """Try many models, also those that images carry.

    Returns:
        By detect component, what is wrong with its model.
    """
    found: dict[str, VeilboxError | None] = {}
    with trials(store, models) as machine:
        for name in models:
            try:
                tried(machine, name)
            except UsageError:
                raise
            except VeilboxError as error:
                found[name] = error
            else:
                found[name] = None
    return found
