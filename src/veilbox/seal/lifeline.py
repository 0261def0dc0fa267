"""Die with the supervisor, also when it is killed in a way that it cannot answer.

Source: prctl(2), PR_SET_PDEATHSIG. The runtime's `create` process exits before our first instruction, so the parent
is the supervisor, which made itself the subreaper of its descendants. A stopped process dies of it too.
"""

from __future__ import annotations

import ctypes
import os
import signal

from veilbox.core.errors import MachineError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent's process ends.

    Raises:
        MachineError: The kernel or a filter refused.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0):
        code = ctypes.get_errno()
        raise MachineError("prctl refused", expected=f"option {option}", actual=os.strerror(code))
