"""A runtime in memory: containers are threads that run a Python callable; the contract tests run on it too."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from veilbox.core.errors import ComponentDied, MachineError
from veilbox.oci.runtime.dialect import Dialect
from veilbox.oci.runtime.driver import State, Status

Program = Callable[[int, int, int], int]


class FakeProcess:
    """The first process of a fake container: a program that gets its own copies of the streams."""

    def __init__(self, pid: int, program: Program, streams: tuple[int, int, int]) -> None:
        self.pid = pid
        self._program = program
        self._streams = tuple(os.dup(stream) for stream in streams)
        self._status: int | None = None
        self._lock = threading.Lock()
        self._ended_read, self._ended_write = os.pipe()

    def begin(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            status = self._program(*self._streams)
        except OSError:  # the streams were cut by a signal
            status = 1
        self.end(status)

    def end(self, status: int) -> None:
        with self._lock:
            if self._status is not None:
                return
            self._status = status
            _cut(self._streams)
            os.close(self._ended_write)

    def fileno(self) -> int:
        return self._ended_read

    def exit_status(self) -> int | None:
        return self._status

    def signal(self, number: int) -> None:
        self.end(128 + number)

    def close(self) -> None:
        descriptor, self._ended_read = self._ended_read, -1
        if descriptor >= 0:
            os.close(descriptor)


def _cut(streams: tuple[int, ...]) -> None:
    for stream in streams:
        if stat.S_ISSOCK(os.fstat(stream).st_mode):
            with suppress(OSError), socket.socket(fileno=os.dup(stream)) as wire:
                wire.shutdown(socket.SHUT_RDWR)
        os.close(stream)


@dataclass
class _Container:
    process: FakeProcess
    started: bool = False

    def status(self) -> Status:
        if self.process.exit_status() is not None:
            return Status.STOPPED
        return Status.RUNNING if self.started else Status.CREATED


@dataclass
class FakeRuntime:
    """Implements `veilbox.oci.runtime.driver.Runtime`.

    `programs` maps the first argument of a bundle's `process.args` to what the container does.
    """

    programs: Mapping[str, Program]
    name: str = "fake"
    dialect: Dialect = field(default_factory=Dialect)
    version: str = "1"
    containers: dict[str, _Container] = field(default_factory=dict)

    def create(self, container_id: str, bundle: Path, *, stdin: int, stdout: int, stderr: int) -> FakeProcess:
        if container_id in self.containers:
            raise MachineError("container exists", where=container_id)
        try:
            config = json.loads((bundle / "config.json").read_text(encoding="utf-8"))
            program = self.programs[config["process"]["args"][0]]
        except (OSError, ValueError, KeyError) as error:
            raise MachineError("container cannot be created", where=container_id, actual=str(error)) from error
        process = FakeProcess(1000 + len(self.containers), program, (stdin, stdout, stderr))
        self.containers[container_id] = _Container(process)
        return process

    def start(self, container_id: str) -> None:
        container = self.containers.get(container_id)
        if container is None:
            raise MachineError("no such container", where=container_id)
        if container.status() is Status.STOPPED:
            raise ComponentDied("ended before it was started", where=container_id)
        container.started = True
        container.process.begin()

    def state(self, container_id: str) -> State | None:
        container = self.containers.get(container_id)
        if container is None:
            return None
        status = container.status()
        return State(status=status, pid=0 if status is Status.STOPPED else container.process.pid)

    def kill(self, container_id: str, number: int) -> None:
        container = self.containers.get(container_id)
        if container is not None:
            container.process.signal(number)

    def delete(self, container_id: str) -> None:
        container = self.containers.pop(container_id, None)
        if container is not None:
            container.process.end(137)
