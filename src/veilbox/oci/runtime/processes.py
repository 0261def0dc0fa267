"""Sealed processes where there is no container runtime: the same seam, from a bundle to a process behind its walls.

A program of ours (`veilbox.orchestrate.sealed_process`) takes the part of the runtime's `create`; starting, watching
and clearing away need no program. A process is noted in a folder of the state folder, as a runtime notes a container,
so that who sweeps after a kill finds it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from veilbox.core.errors import ComponentDied, MachineError
from veilbox.oci.process import spawn
from veilbox.oci.runtime import syscalls
from veilbox.oci.runtime.dialect import DIALECTS, PROCESS, PROCESS_NOTE, Dialect
from veilbox.oci.runtime.driver import PidfdProcess, State, Status, last_message

# The pipe over which a process is told to begin.
GO = "go"
# Noted of a process, beside its number and start time: whether the kernel granted it a root of its own.
OWN_ROOT = "own-root"
_TIMEOUT_S = 10.0


class ProcessRuntime:
    """Runs bundles as sealed processes.

    Args:
        program: What makes a process, with its first arguments; told `--root`, `--log`, `--bundle`, `--pid-file` and
            the id.
        version: Told in reports.
        root: Where it notes its processes; a folder of the job's own.
        variables: The environment of `program`.
        timeout_s: Seconds for a create.
    """

    def __init__(
        self,
        program: Sequence[str | Path],
        *,
        version: str,
        root: Path,
        variables: dict[str, str],
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._program = tuple(program)
        self._version = version
        self._root = root
        self._variables = variables
        self._timeout_s = timeout_s
        self._processes: dict[str, PidfdProcess] = {}
        self._started: set[str] = set()

    @property
    def name(self) -> str:
        """See `Runtime.name`."""
        return PROCESS

    @property
    def version(self) -> str:
        """See `Runtime.version`."""
        return self._version

    @property
    def dialect(self) -> Dialect:
        """See `Runtime.dialect`."""
        return DIALECTS[PROCESS]

    def create(self, container_id: str, bundle: Path, *, stdin: int, stdout: int, stderr: int) -> PidfdProcess:
        """See `Runtime.create`."""
        notes, log, pid_file = self._root / container_id, bundle / "log", bundle / "pid"
        try:
            notes.mkdir(parents=True)
            os.mkfifo(notes / GO, 0o600)
        except OSError as error:
            raise MachineError(
                "process cannot be noted", where=container_id, actual=error.strerror or "exists already"
            ) from error
        syscalls.adopt_orphans()  # the program ends when the process is there, and orphans it to us
        words: list[str | Path] = [
            "--root",
            self._root,
            "--log",
            log,
            "--bundle",
            bundle,
            "--pid-file",
            pid_file,
            container_id,
        ]
        maker = spawn([*self._program, *words], env=self._variables, stdin=stdin, stdout=stdout, stderr=stderr)
        try:
            self._await(maker, log)
            process = PidfdProcess(int(pid_file.read_text(encoding="ascii")))
        except BaseException:
            shutil.rmtree(notes, ignore_errors=True)
            raise
        self._processes[container_id] = process
        return process

    def _await(self, maker: subprocess.Popen[bytes], log: Path) -> None:
        try:
            status = maker.wait(self._timeout_s)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(maker.pid, signal.SIGKILL)  # a session of its own, by `spawn`; the process is in it too
            maker.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise MachineError(
                "process was not made in time", where=PROCESS, expected=f"at most {self._timeout_s:g} s"
            ) from error
        if status != 0:
            raise MachineError("process cannot be sealed", where=self._version, actual=last_message(log))

    def has_own_root(self, container_id: str) -> bool:
        """Whether the kernel granted a process mounts of its own; otherwise it finds its files at the host's paths."""
        note = self._root / container_id / PROCESS_NOTE
        try:
            return bool(json.loads(note.read_text(encoding="ascii"))[OWN_ROOT])
        except (OSError, ValueError, KeyError) as error:
            raise MachineError("process's note cannot be read", where=str(note), actual=str(error)) from error

    def start(self, container_id: str) -> None:
        """See `Runtime.start`."""
        process = self._processes.get(container_id)
        if process is None:
            raise MachineError("process does not exist", where=container_id)
        try:
            descriptor = os.open(self._root / container_id / GO, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise MachineError(
                    "process cannot be started", where=container_id, actual=error.strerror or ""
                ) from error
            process.end(self._timeout_s)  # it holds the pipe open from before `create` returned until its end
            raise ComponentDied(
                "ended before it was started", where=container_id, actual=f"exit {process.exit_status()}"
            ) from error
        with suppress(BrokenPipeError):
            os.write(descriptor, b"g")
        os.close(descriptor)
        self._started.add(container_id)

    def state(self, container_id: str) -> State | None:
        """See `Runtime.state`."""
        process = self._processes.get(container_id)
        if process is None:
            return None
        if process.exit_status() is not None:
            return State(status=Status.STOPPED, pid=0)
        return State(status=Status.RUNNING if container_id in self._started else Status.CREATED, pid=process.pid)

    def kill(self, container_id: str, number: int) -> None:
        """See `Runtime.kill`."""
        process = self._processes.get(container_id)
        if process is not None:
            process.signal(number)

    def delete(self, container_id: str) -> None:
        """See `Runtime.delete`."""
        process = self._processes.pop(container_id, None)
        self._started.discard(container_id)
        if process is None:
            return
        if not process.end(self._timeout_s):
            raise MachineError("process does not end", where=container_id)
        try:
            shutil.rmtree(self._root / container_id)
        except OSError as error:
            raise MachineError("process's notes stay", where=container_id, actual=error.strerror or "") from error
