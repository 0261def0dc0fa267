"""An OCI runtime through its command line: create, start, state, kill, delete.

Source: OCI runtime-spec, runtime.md; the command line is the one that runc, crun and their kin share
(opencontainers/runtime-tools, docs/command-line-interface.md).
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from veilbox.core.errors import ComponentDied, MachineError
from veilbox.oci.process import Finished, run, spawn
from veilbox.oci.runtime import syscalls
from veilbox.oci.runtime.dialect import DIALECTS, KNOWN, PROCESS, Dialect

_TIMEOUT_S = 10.0
_ADVICE = "Install one with: apt-get install crun"
# Before it, a file that may not be written could be cut to nothing. Source: landlock(7), ABI 3, Linux 6.2.
LEAST_LANDLOCK = 3


class Status(StrEnum):
    """The spec's words for where a container is in its life."""

    CREATING = "creating"
    CREATED = "created"
    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What a runtime says of a container.

    Attributes:
        status: Where it is.
        pid: Its first process as the host counts; 0 once stopped.
    """

    status: Status
    pid: int


class ContainerProcess(Protocol):
    """The first process of a container, from create on."""

    @property
    def pid(self) -> int:
        """Its number on the host."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when the process has ended; for poll."""

    def exit_status(self) -> int | None:
        """Its exit status, 128 + n if signal n ended it, None while it runs."""

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens once it has ended."""

    def close(self) -> None:
        """Give the descriptor back; the exit status stays readable if it was read before."""


class Runtime(Protocol):
    """The seam to whatever runs containers. Methods may be called from several threads for different containers."""

    @property
    def name(self) -> str:
        """The program's name."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def dialect(self) -> Dialect:
        """What it wants said differently."""

    def create(self, container_id: str, bundle: Path, *, stdin: int, stdout: int, stderr: int) -> ContainerProcess:
        """Make the container; its first process waits for `start`.

        Args:
            container_id: Unused so far; letters, digits, `_`, `+`, `-`, `.`.
            bundle: Folder with config.json.
            stdin: The container's standard input; never /dev/null, which old runtimes give to the container's user.
            stdout: Likewise its standard output.
            stderr: Likewise its standard error.

        Returns:
            Its first process; the caller closes it. The descriptors remain the caller's.

        Raises:
            MachineError: The runtime failed; nothing of the container is left.
        """

    def start(self, container_id: str) -> None:
        """Let the first process run the component's program.

        Raises:
            ComponentDied: The process ended before.
            MachineError: There is no such container, or the runtime failed.
        """

    def state(self, container_id: str) -> State | None:
        """Where the container is; None if there is none of that id."""

    def kill(self, container_id: str, number: int) -> None:
        """Send a signal to the first process; nothing happens when it has ended or there is no such container."""

    def delete(self, container_id: str) -> None:
        """End the container if it runs and remove it; nothing happens when there is none of that id.

        Raises:
            MachineError: Something of it stays.
        """


class PidfdProcess:
    """A process that was orphaned to us, held by a pidfd, so that its number cannot be mistaken for a later one's."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._status: int | None = None
        try:
            self._descriptor = os.pidfd_open(pid)
        except OSError as error:
            raise MachineError(
                "container's process cannot be watched", where=str(pid), actual=error.strerror or ""
            ) from error

    @property
    def pid(self) -> int:
        """Its number on the host."""
        return self._pid

    def fileno(self) -> int:
        """The pidfd; readable when the process has ended."""
        return self._descriptor

    def exit_status(self) -> int | None:
        """Its exit status, 128 + n if signal n ended it, None while it runs.

        Raises:
            MachineError: Somebody else took the status; this process must be the parent of orphans.
        """
        if self._status is None and self._descriptor >= 0:
            self._status = self._reaped()
        return self._status

    def _reaped(self) -> int | None:
        try:
            ended = os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED | os.WNOHANG)
        except ChildProcessError as error:
            raise MachineError("container's exit status was taken by another process", where=str(self._pid)) from error
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens once it has ended."""
        if self._status is None and self._descriptor >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def end(self, timeout_s: float) -> bool:
        """Kill it and wait; whether it ended in time."""
        self.signal(signal.SIGKILL)
        if self._status is not None or self._descriptor < 0:
            return True
        waiter = select.poll()
        waiter.register(self._descriptor, select.POLLIN)
        return bool(waiter.poll(timeout_s * 1000)) and self.exit_status() is not None

    def close(self) -> None:
        """Give the pidfd back."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class OciRuntime:
    """A runtime program.

    Attributes:
        binary: The program.

    Args:
        binary: The program.
        name: A key of `DIALECTS`.
        version: As the program told.
        root: Where it keeps its state; a folder of the job's own, on a tmpfs.
        limited: Whether cgroups can be made; otherwise the runtime is told to leave them alone.
        timeout_s: Seconds for a create, and if they are more than 10 for every call; a runtime that takes longer is
            killed.
    """

    def __init__(
        self,
        binary: Path,
        *,
        name: str,
        version: str,
        root: Path,
        limited: bool = True,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self.binary = binary
        self._name = name
        self._version = version
        self._root = root
        self._timeout_s = timeout_s
        self._processes: dict[str, PidfdProcess] = {}
        self._dialect = DIALECTS[name]
        unlimited = () if limited else self._dialect.unlimited
        self._command: list[str | Path] = [binary, "--root", root, *self._dialect.options, *unlimited]

    @property
    def name(self) -> str:
        """The program's name."""
        return self._name

    @property
    def version(self) -> str:
        """Its version."""
        return self._version

    @property
    def dialect(self) -> Dialect:
        """What it wants said differently."""
        return self._dialect

    def create(self, container_id: str, bundle: Path, *, stdin: int, stdout: int, stderr: int) -> PidfdProcess:
        """See `Runtime.create`."""
        if self._is_noted(container_id):
            raise MachineError("container exists already", where=container_id)  # or the clean-up below would end it
        pid_file, log = bundle / "pid", bundle / "log"
        command = [*self._command, "--log", log, "--log-format", "json", "create", "--bundle", bundle]
        # The runtime ends after create and orphans the container's process to us, so that we can read its status.
        syscalls.adopt_orphans()
        runtime = spawn(
            [*command, "--pid-file", pid_file, container_id],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            advice=_ADVICE,
        )
        try:
            self._await_create(runtime, log)
            process = PidfdProcess(int(pid_file.read_text(encoding="ascii")))
        except BaseException:
            self._forget(container_id)
            raise
        self._processes[container_id] = process
        return process

    def _await_create(self, runtime: subprocess.Popen[bytes], log: Path) -> None:
        try:
            status = runtime.wait(self._timeout_s)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(runtime.pid, signal.SIGKILL)  # a session of its own, by `spawn`
            runtime.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise MachineError(
                "container was not created in time", where=self._name, expected=f"at most {self._timeout_s:g} s"
            ) from error
        if status != 0:
            raise self._error("container cannot be created", last_message(log))

    def start(self, container_id: str) -> None:
        """See `Runtime.start`."""
        process = self._processes.get(container_id)
        finished = self._call("start", container_id)
        if finished.status == 0:
            return
        if process is not None and process.exit_status() is not None:
            raise ComponentDied(
                "ended before it was started", where=container_id, actual=f"exit {process.exit_status()}"
            )
        raise self._error("container cannot be started", _last_line(finished))

    def state(self, container_id: str) -> State | None:
        """See `Runtime.state`."""
        process = self._processes.get(container_id)
        if process is not None and process.exit_status() is not None:
            return State(status=Status.STOPPED, pid=0)
        if not self._is_noted(container_id):
            return None
        finished = self._call("state", container_id)
        if finished.status != 0:
            raise self._error("container's state cannot be read", _last_line(finished))
        return parse_state(finished.stdout)

    def kill(self, container_id: str, number: int) -> None:
        """See `Runtime.kill`; a pidfd is faster than the program and cannot hit a stranger.

        A kernel of its own takes no signal for its component from there but the one that ends both.
        """
        process = self._processes.get(container_id)
        if process is not None and (number == signal.SIGKILL or not self._dialect.own_kernel):
            process.signal(number)
            return
        state = self.state(container_id)
        if state is not None and state.status is not Status.STOPPED:
            finished = self._call("kill", container_id, str(number))
            if finished.status != 0 and self.state(container_id) not in {None, State(status=Status.STOPPED, pid=0)}:
                raise self._error("container cannot be signalled", _last_line(finished))

    def delete(self, container_id: str) -> None:
        """See `Runtime.delete`.

        Killed and waited for first, then deleted without force: runc's forced delete sleeps in ticks of 100 ms.
        """
        process = self._processes.pop(container_id, None)
        plain = process is not None and process.end(self._timeout_s)
        if not self._is_noted(container_id):
            return
        if plain and self._call("delete", container_id).status == 0:
            return
        finished = self._call("delete", "--force", container_id)
        if finished.status != 0 and self._is_noted(container_id):
            raise self._error("container cannot be deleted", _last_line(finished))

    def _forget(self, container_id: str) -> None:
        """After a failed create: remove what the runtime may have left; its own error matters more than ours."""
        with suppress(MachineError):
            self.delete(container_id)
        # A runtime cut off early leaves state that no runtime reads; its child ends when it finds its parent gone.
        shutil.rmtree(self._root / container_id, ignore_errors=True)
        for path in self._root.glob(f"*{container_id}*"):  # runsc's lock and socket
            path.unlink(missing_ok=True)

    def _is_noted(self, container_id: str) -> bool:
        return any((self._root / note.format(id=container_id)).exists() for note in self._dialect.notes)

    def _call(self, *words: str) -> Finished:
        # Never less than the default: a create that was cut off must still be cleaned up.
        limit_s = max(self._timeout_s, _TIMEOUT_S)
        return run([*self._command, *words], timeout_s=limit_s, advice=_ADVICE, check=False)

    def _error(self, what: str, said: str) -> MachineError:
        return MachineError(
            what,
            where=f"{self._name} {self._version}",
            actual=said,
            advice="See what this machine offers: veilbox doctor",
        )


def parse_state(text: bytes) -> State:
    """The answer of a runtime's `state`.

    Raises:
        MachineError: It is no JSON object with a known status.
    """
    try:
        answer = json.loads(text)
        status = Status(answer["status"])
        pid = int(answer.get("pid", 0))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MachineError("runtime's answer cannot be read", where="state", actual=repr(text[:100])) from error
    return State(status=status, pid=0 if status is Status.STOPPED else pid)


def last_message(log: Path) -> str:
    """The last message of a runtime's JSON log; the raw line if it is not JSON; a remark if there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="backslashreplace").split("\n")
    except OSError:
        return "no message"
    said = [line for line in lines if line.strip()]
    if not said:
        return "no message"
    try:
        return str(json.loads(said[-1])["msg"])
    except (ValueError, KeyError, TypeError):
        return said[-1]


def _last_line(finished: Finished) -> str:
    lines = finished.last_words.splitlines()
    return lines[-1] if lines else f"exit status {finished.status}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeFacts:
    """One known runtime on this machine.

    Attributes:
        name: The program.
        binary: Where it is; None if it is missing.
        version: Without the program's name; empty if it did not tell.
        usable: Whether veilbox can drive it.
        why: Why not, else empty.
    """

    name: str
    binary: Path | None
    version: str
    usable: bool
    why: str


def discover(names: Sequence[str] = KNOWN) -> list[RuntimeFacts]:
    """What this machine has of the known runtimes, the preferred one first."""
    return [_sealing() if name == PROCESS else _examined(name) for name in names]


def _sealing() -> RuntimeFacts:
    """Whether the kernel has what sealed processes need; this Python makes them."""
    abi = syscalls.landlock_abi()
    why = "" if abi >= LEAST_LANDLOCK else f"needs a kernel with Landlock, ABI {LEAST_LANDLOCK} or later; here is {abi}"
    if not why and not syscalls.has_seccomp():
        why = "needs a kernel with seccomp filters"
    return RuntimeFacts(name=PROCESS, binary=Path(sys.executable), version=f"Landlock {abi}", usable=not why, why=why)


def _examined(name: str) -> RuntimeFacts:
    # An administrator's folders are not in every user's PATH.
    found = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        return RuntimeFacts(name=name, binary=None, version="", usable=False, why="is not installed")
    try:
        said = run([found, "--version"], timeout_s=_TIMEOUT_S).stdout.decode("utf-8", "replace")
    except MachineError as error:
        return RuntimeFacts(name=name, binary=Path(found), version="", usable=False, why=str(error))
    version = parse_version(said)
    why = _too_old(name, version)
    return RuntimeFacts(name=name, binary=Path(found), version=version, usable=not why, why=why)


def parse_version(said: str) -> str:
    """The version in a runtime's `--version`: the last word of its first line.

    Debian writes gVisor's `release-20240729.0` as `0.0~20240729.0`.
    """
    words = said.strip().splitlines()[0].split() if said.strip() else [""]
    return words[-1].removeprefix("0.0~").removeprefix("release-")


def _too_old(name: str, version: str) -> str:
    oldest = DIALECTS[name].oldest if name in DIALECTS else (0, 0)
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if numbers is None:
        return "does not tell its version"
    if (int(numbers[1]), int(numbers[2])) < oldest:
        return f"version {version} is older than {oldest[0]}.{oldest[1]}"
    return ""


def choose(facts: Sequence[RuntimeFacts], *, root: Path, limited: bool = True) -> OciRuntime:
    """The first usable runtime.

    Args:
        facts: From `discover`.
        root: As for `OciRuntime`.
        limited: As for `OciRuntime`.

    Raises:
        MachineError: None is usable.
    """
    for fact in facts:
        if fact.usable and fact.binary is not None:
            return OciRuntime(fact.binary, name=fact.name, version=fact.version, root=root, limited=limited)
    raise unusable(facts)


def unusable(facts: Sequence[RuntimeFacts]) -> MachineError:
    """The error of a machine on which none of these can be used."""
    packages = [DIALECTS[fact.name].package for fact in facts if fact.name in DIALECTS]
    install = f"Install one with: apt-get install {packages[0]}" if any(packages[:1]) else _ADVICE
    return MachineError(
        "no OCI runtime is usable",
        expected=" or ".join(fact.name for fact in facts),
        actual="; ".join(f"{fact.name} {fact.why}" for fact in facts),
        advice=f"{install}. Without one, --runtime process runs the components as sealed processes: weaker walls",
    )
