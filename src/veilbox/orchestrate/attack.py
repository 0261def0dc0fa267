"""Labelled pictures -> how often a built-in adversary links redacted faces back to their originals.

Pictures are decoded and compared in sealed components; what leaves them is rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from veilbox.core.control import ItemDone, ItemFailed, ItemStarted, Link, Linked, OpenItem
from veilbox.core.errors import ProtocolError, UsageError, VeilboxError
from veilbox.core.job import Item, Job
from veilbox.core.linking import MOST_PICTURES, LinkRate
from veilbox.core.plan import Plan
from veilbox.oci.image.store import ImageStore
from veilbox.orchestrate.launcher import Launcher
from veilbox.orchestrate.machine import engine, runtimes
from veilbox.orchestrate.models import chosen_models
from veilbox.orchestrate.plan import attack_plan, detectors_of
from veilbox.orchestrate.pod import Pod
from veilbox.orchestrate.progress import Progress
from veilbox.orchestrate.report import SourceFailure
from veilbox.orchestrate.source import open_source_file
from veilbox.seal.canary import planted

_ANONYMIZE = "anonymize"
# The normal distribution's quantile of 0.975, for intervals of 95 %.
_Z = 1.959964


@dataclass(frozen=True, kw_only=True, slots=True)
class Attack:
    """What an adversary reached.

    Attributes:
        pictures: That could be read.
        people: Whom they show, as the folders say.
        rates: By strength and adversary; none if fewer than two faces were found.
        failures: Sources that could not be read.
    """

    pictures: int
    people: int
    rates: tuple[LinkRate, ...]
    failures: tuple[SourceFailure, ...]


def people_of(items: Sequence[Item], roots: Sequence[Path]) -> list[int]:
    """Who each picture shows: pictures in one folder below an input show one person, others one each.

    Args:
        items: The pictures.
        roots: The inputs that they were found in.

    Returns:
        A number for each.
    """
    numbers: dict[str, int] = {}
    found = []
    for item in items:
        folder = item.source.parent
        named = str(item.source) if folder in roots or item.source in roots else f"{folder}/"
        found.append(numbers.setdefault(named, len(numbers)))
    return found


def wilson(hits: float, trials: int) -> tuple[float, float]:
    """The 95 % confidence interval of a rate; from 0 to 1 without trials.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    if not trials:
        return 0.0, 1.0
    share, spread = hits / trials, _Z**2 / trials
    middle = share + spread / 2
    reach = _Z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max((middle - reach) / (1 + spread), 0.0), min((middle + reach) / (1 + spread), 1.0)


def attack(job: Job, people: Sequence[int], *, whole: bool, store: ImageStore, progress: Progress) -> Attack:
    """Try to link faces in sealed containers.

    Args:
        job: The pictures, without outputs.
        people: Who each shows.
        whole: Whether each picture is one face.
        store: Component images.
        progress: Told of every step.

    Raises:
        VeilboxError: The job ended.
    """
    progress.phase("admitting images")
    with engine(
        store, ("ingest", _ANONYMIZE), detect=partial(chosen_models, store, job.policy), runtimes=runtimes(job.policy)
    ) as machine:
        plan = attack_plan(job.policy, machine.programs, cpus=machine.cpus, detect=machine.detectors)
        return run_plan(job, plan, machine.launcher, people, whole=whole, progress=progress)


def run_plan(
    job: Job, plan: Plan, launcher: Launcher, people: Sequence[int], *, whole: bool, progress: Progress
) -> Attack:
    """Likewise with any launcher."""
    if len(job.items) > MOST_PICTURES:
        raise UsageError("too many pictures", expected=f"at most {MOST_PICTURES}", actual=str(len(job.items)))
    progress.phase("starting containers")
    with planted() as canaries, Pod(plan, launcher, job.policy, canaries) as pod:
        pod.await_ready()
        run = AttackRun(job, pod, progress, detectors_of(plan))
        run.run()
        asked = Link(items=tuple(run.done), people=tuple(people[number] for number in run.done), whole=whole)
        linked = pod.ask(_ANONYMIZE, asked)
        if not isinstance(linked, Linked):
            raise ProtocolError("does not tell rates", where=_ANONYMIZE)
        pod.finish()
        return Attack(
            pictures=len(run.done),
            people=len({people[number] for number in run.done}),
            rates=linked.rates,
            failures=tuple(run.failures),
        )


class AttackRun:
    """Feeds pictures to the pod, one at a time."""

    def __init__(self, job: Job, pod: Pod, progress: Progress, detectors: tuple[str, ...]) -> None:
        self._job = job
        self._pod = pod
        self._progress = progress
        self._stride = pod.common_stride(detectors)
        self._witnesses = {"ingest", _ANONYMIZE, *detectors}
        self.done: list[int] = []
        self.failures: list[SourceFailure] = []

    def run(self) -> None:
        """Work until every picture was seen or failed.

        Raises:
            VeilboxError: A component failed.
        """
        for number, item in enumerate(self._job.items):
            try:
                self._one(number, item)
            except VeilboxError as error:
                if error.fault != "input":
                    raise
                self.failures.append(SourceFailure.of(item.name, error))
            else:
                self.done.append(number)
            self._progress.done(number)

    def _one(self, number: int, item: Item) -> None:
        with open_source_file(item.source, item.name) as source:
            self._pod.send("ingest", OpenItem(item=number, analysis_stride=self._stride), [source.fd])
        waiting = set(self._witnesses)
        while waiting:
            for name, message in self._pod.poll():
                match message:
                    case ItemStarted(item=started) if name == "ingest" and started == number:
                        self._progress.item(number, len(self._job.items), item.name, message.frames)
                    case ItemFailed(item=failed) if name == "ingest" and failed == number:
                        raise message.failure.error(item.name)
                    case ItemDone(item=done):
                        waiting -= {name} if done == number else set()
                    case _:
                        raise ProtocolError("unexpected message", where=name, actual=type(message).__name__)
