"""Edges in one process: a producer and its consumers on real sockets and a real ring file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from veilbox.transport.channel import Channel, pair
from veilbox.transport.consumer import RingConsumer
from veilbox.transport.producer import RingProducer
from veilbox.transport.waiting import PollWaiter

Edge = tuple[RingProducer, list[RingConsumer]]


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    left, right = (Channel(end, name) for end, name in zip(pair(), ("to right", "to left"), strict=True))
    yield left, right
    left.close()
    right.close()


@pytest.fixture
def make_edge(tmp_path: Path) -> Iterator[Callable[..., Edge]]:
    made: list[RingProducer | RingConsumer] = []

    def make(consumers: int = 1, ring_bytes: int = 1 << 20) -> Edge:
        ends = [pair() for _ in range(consumers)]
        waiter = PollWaiter()
        producer = RingProducer(tmp_path, [Channel(ours, "credits") for ours, _ in ends], waiter, ring_bytes)
        readers = [RingConsumer(tmp_path, Channel(theirs, "frames"), waiter) for _, theirs in ends]
        made.extend([producer, *readers])
        return producer, readers

    yield make
    for end in made:
        end.close()
