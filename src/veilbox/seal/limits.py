"""`limits-bite`: a component tries its bounds, and the host what a control group with such bounds does.

From inside, because nobody else can: the memory that a process may map, the threads that it may make, its share of the
processors. A control group's memory and time cannot be tried from inside within milliseconds - three gigabytes would
have to be written, and every processor be kept busy - so the host tries them in a group of the same job that is made
for it, and looks whether the component's own group has the plan's bounds. `veilbox.seal.trial_group` does that.
"""

from __future__ import annotations

import _thread
import mmap
import os
import time

from veilbox.core.isolation import Gate
from veilbox.seal.outcome import ALLOWED, outcome
from veilbox.seal.privilege import status

# More than any machine has or plan allows, and a small part of what a process can address.
_MORE_THAN_ANY_BYTES = 1 << 40
_MAP_NORESERVE = 0x4000  # asm-generic/mman-common.h
# More than any plan allows on a machine of up to 200 processors; a bare process makes them in some 30 ms.
_MORE_THAN_ANY_THREADS = 1024
# The least that a thread of ours needs to wait for a lock. Source: PTHREAD_STACK_MIN, and what CPython adds.
_STACK_BYTES = 64 << 10
_END_S = 1.0


def limits_bite(*, own_kernel: bool = False) -> Gate:
    """More memory than allowed cannot be had, nor more threads, nor a larger share of the processors.

    Args:
        own_kernel: Whether another kernel than the host's answers. Its threads are none of the host's: they take of the
            memory that the sandbox has, and the sandbox's own are bounded by its control group. They are not tried:
            gVisor takes five seconds for a thousand.
    """
    memory = outcome(_map_too_much)
    threads, bounded = ("own", True) if own_kernel else _threads()
    share = {
        "real time": outcome(lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))),
        "priority": outcome(lambda: os.setpriority(os.PRIO_PROCESS, 0, -1)),
    }
    if share["priority"] == ALLOWED:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    if share["real time"] == ALLOWED:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return Gate(
        name="limits-bite",
        tried=f"map {_MORE_THAN_ANY_BYTES >> 30} GiB, make {_MORE_THAN_ANY_THREADS} threads, ask for real time and for "
        "priority",
        found=f"map {memory}, {threads} threads, " + ", ".join(f"{name} {answer}" for name, answer in share.items()),
        held=memory != ALLOWED and bounded and ALLOWED not in share.values(),
    )


def _map_too_much() -> None:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    mmap.mmap(-1, _MORE_THAN_ANY_BYTES, flags=flags).close()


def _threads() -> tuple[int | str, bool]:
    """Make threads that wait, until one is refused; all of them have ended on return.

    Returns:
        How many could be made beside those that were there, and whether one was refused.
    """
    before, gate, made = _running(), _thread.allocate_lock(), 0
    gate.acquire()
    size = _thread.stack_size(_STACK_BYTES)
    try:
        while made < _MORE_THAN_ANY_THREADS:
            _thread.start_new_thread(_wait, (gate,))
            made += 1
    except (RuntimeError, MemoryError):
        pass
    finally:
        _thread.stack_size(size)
        gate.release()
    end = time.monotonic() + _END_S
    while _running() > before and time.monotonic() < end:  # the kernel counts a thread until it is gone
        time.sleep(0)
    return made, made < _MORE_THAN_ANY_THREADS


def _running() -> int:
    return int(status()["Threads"])


def _wait(gate: _thread.LockType) -> None:
    gate.acquire()
    gate.release()
