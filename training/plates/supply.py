"""Makes the coming steps' samples in another process while the network learns."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np

from plates.samples import Sample, SampleMaker

# Steps that each process makes ahead: enough to even out slow samples.
_AHEAD = 6
# The worker's copy of the maker. A fork shares its photographs, most of a gigabyte, instead of sending them.
_maker: list[SampleMaker] = []


def samples_of(maker: SampleMaker, seed: int, step: int, count: int) -> list[Sample]:
    """The samples of one step; they depend on nothing but the arguments."""
    random = np.random.default_rng((seed, step))
    return [maker.make(random) for _ in range(count)]


def supply(maker: SampleMaker, *, seed: int, first: int, count: int, workers: int = 1) -> Iterator[list[Sample]]:
    """The samples of step after step, without end.

    Args:
        maker: Makes them.
        seed: Of the training.
        first: The first step.
        count: Samples of a step.
        workers: Processes; the samples are the same with any number.
    """
    _maker[:] = [maker]
    pending: deque[Future[list[Sample]]] = deque()
    step = first
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        while True:
            while len(pending) < _AHEAD * workers:
                pending.append(pool.submit(_make, seed, step, count))
                step += 1
            yield pending.popleft().result()


def _make(seed: int, step: int, count: int) -> list[Sample]:
    return samples_of(_maker[0], seed, step, count)
