"""The one file of veilbox that starts foreign programs: apt, dpkg-deb, uv, the image's Python and OCI runtimes.

Arguments are lists, never shell strings; nothing inherits veilbox's standard input; every call has a deadline.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from veilbox.core.errors import MachineError

# An error message shows the end of what the program said; the tree's errors cut at 500 characters anyway.
_SHOWN_CHARS = 400

# What a program gets of our environment: enough to find its files, its proxies and certificates, nothing of ours.
_INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "all_proxy", "ALL_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A program that ended by itself.

    Attributes:
        argv: What was run.
        status: Its exit status; negative for the number of the signal that ended it.
        stdout: All it wrote there, or empty when that went to a file.
        stderr: All it wrote there.
    """

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def last_words(self) -> str:
        """The end of standard error, or of standard output if that is empty; undecodable bytes escaped."""
        said = (self.stderr or self.stdout).strip()[-_SHOWN_CHARS:]
        return said.decode("utf-8", "backslashreplace")


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    advice: str = "",
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    stdout: IO[bytes] | int | None = None,
    stderr: IO[bytes] | int | None = None,
    pass_fds: Sequence[int] = (),
) -> Finished:
    """Run a program to its end.

    Args:
        argv: Program and arguments; the program is looked up in PATH.
        timeout_s: Seconds until the program and its children are killed.
        advice: What the user can do when the program is missing or fails ("Install it with ...").
        check: Whether a non-zero status is an error; otherwise the caller reads `status`.
        env: Variables besides PATH, HOME, proxies and certificates, which are inherited; LC_ALL is C.UTF-8.
        cwd: Where it runs; otherwise where we are.
        stdin: What it reads.
        stdout: A file or descriptor instead of memory.
        stderr: Likewise. OCI runtimes whose containers inherit their standard streams need both: memory would wait
            for the container's end.
        pass_fds: Descriptors that it inherits under the same numbers.

    Returns:
        Its status and what it wrote.

    Raises:
        MachineError: It is not there, may not be run, overran its time, or (with `check`) failed.
    """
    child = spawn(
        argv,
        advice=advice,
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE if stderr is None else stderr,
        pass_fds=pass_fds,
    )
    with child:
        try:
            out, err = child.communicate(stdin, timeout=timeout_s)
        except BaseException as error:
            _kill_group(child)
            if isinstance(error, subprocess.TimeoutExpired):
                raise MachineError(
                    "program did not end in time", where=_name(argv), expected=f"at most {timeout_s:g} s", advice=advice
                ) from error
            raise
    finished = Finished(argv=_words(argv), status=child.returncode, stdout=out or b"", stderr=err or b"")
    if check and finished.status != 0:
        raise failed(finished, advice)
    return finished


def spawn(
    argv: Sequence[str | Path],
    *,
    advice: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own and return at once; the caller owns the child.

    Args:
        argv: As for `run`.
        advice: As for `run`.
        env: As for `run`.
        cwd: As for `run`.
        stdin: A file, descriptor or `subprocess` constant; nothing to read by default.
        stdout: Likewise; discarded by default.
        stderr: Likewise.
        pass_fds: As for `run`.

    Raises:
        MachineError: It is not there or may not be run.
    """
    words = _words(argv)
    try:
        return subprocess.Popen(
            words,
            env=_environment(env or {}),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    except OSError as error:
        raise MachineError(
            "program cannot be started", where=words[0], actual=error.strerror or str(error), advice=advice
        ) from error


def failed(finished: Finished, advice: str = "") -> MachineError:
    """The error for a program that ended with a status other than 0."""
    return MachineError(
        "program failed",
        where=_name(finished.argv),
        expected="exit status 0",
        actual=f"{finished.status}: {finished.last_words}",
        advice=advice,
    )


def _words(argv: Sequence[str | Path]) -> tuple[str, ...]:
    return tuple(os.fspath(word) for word in argv)


def _name(argv: Sequence[str | Path]) -> str:
    return " ".join(_words(argv)[:2])


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {"LC_ALL": "C.UTF-8"} | dict(own)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    # Its session id is its pid (start_new_session), so its own children go with it.
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
