"""The process that outlives a killed supervisor just long enough to remove what it left.

A component dies with its supervisor once it could ask for that (`seal.lifeline`). A container that is created but not
started, or that is stopped before its first instruction, could not. So a supervisor forks a monitor, as conmon is one
for podman: it waits for the supervisor's death and removes its job. If both are killed, the next start does.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from veilbox.core.errors import VeilboxError

if TYPE_CHECKING:
    from veilbox.oci.runtime.jobs import RunDirectory


@contextmanager
def monitored(run: RunDirectory, job_id: str, also: Callable[[], None]) -> Iterator[int]:
    """Have a process of our own remove a job if this one is killed within the block.

    Call it before `enter_private_namespaces`, for the same reasons as `RunDirectory.sweep`.

    Args:
        run: Where the job's folder is or will be.
        job_id: From `new_job_id`; no folder need be there yet.
        also: Removes what the supervisor keeps elsewhere; called after its death.

    Yields:
        The monitor's process id.
    """
    supervisor = os.pidfd_open(os.getpid())
    monitor = os.fork()
    if monitor == 0:
        _watch(supervisor, run, job_id, also)
    os.close(supervisor)
    try:
        yield monitor
    finally:
        with suppress(ProcessLookupError):
            os.kill(monitor, signal.SIGKILL)  # our child that nobody has waited for: the number cannot be another's
        with suppress(ChildProcessError):
            os.waitpid(monitor, 0)


def _watch(supervisor: int, run: RunDirectory, job_id: str, also: Callable[[], None]) -> NoReturn:
    """The monitor's whole life. It ends without unwinding: the frames below are the supervisor's."""
    status = 1
    try:
        os.setsid()  # what the terminal sends to the supervisor's group is not for us
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        handle = _hold_only(supervisor)
        waiter = select.poll()
        waiter.register(handle, select.POLLIN)
        waiter.poll()
        run.bury(job_id)  # waits for children that have not come to their exec, and hold locks of the supervisor's
        also()
        status = 0
    except (OSError, VeilboxError):  # nobody is left to be told; the next start sweeps, and says why it cannot
        status = 1
    finally:
        os._exit(status)


def _hold_only(descriptor: int) -> int:
    """Let go of all that the supervisor has open: its pipes, its leases, its sources.

    Returns:
        The descriptor's new number.
    """
    # Above the standard ones, of which the supervisor may have been started without.
    held = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.closerange(3, held)
    os.closerange(held + 1, os.sysconf("SC_OPEN_MAX"))
    return held
