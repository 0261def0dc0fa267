"""Faults between us and a registry that we did not write: the in-memory registry's, in front of any transport."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from memory_registry import Answer, Fault, Rule

from veilbox.oci.registry.transport import Request, Response, Transport


class FaultyTransport:
    """Carries requests to a registry, and misbehaves where it is told to."""

    def __init__(self, real: Transport) -> None:
        self.rules: list[Rule] = []
        self.log: list[Request] = []
        self._real = real
        self._lock = threading.Lock()

    def fails(self, method: str, path: str, fault: Fault, times: int = 1) -> None:
        self.rules.append(Rule(method, path, fault, times))

    @contextmanager
    def send(self, request: Request) -> Iterator[Response]:
        with self._lock:
            self.log.append(request)
            rule = next((rule for rule in self.rules if rule.matches(request)), None)
            if rule is not None:
                rule.times -= 1
        if rule is None:
            with self._real.send(request) as response:
                yield response
        else:
            yield rule.fault(request, lambda: self._whole(request))

    def _whole(self, request: Request) -> Answer:
        """The registry's own answer, to be spoilt."""
        with self._real.send(request) as response:
            return Answer(response.status, response.headers, b"".join(response.chunks()))
