"""Steps that a signal must not cut in half: starting a pod and clearing it away.

The command line answers SIGINT, SIGTERM and SIGHUP with an exception, which may be raised between any two
instructions. Within these steps the answer waits; each of them is short and bounded.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Answer signals only after the block; in a thread that gets none, do nothing.

    Blocking them in this thread would not do: another thread would take them, and programs started meanwhile would
    inherit the mask.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        del frame
        noted.append(signum)

    before = {number: signal.signal(number, note) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if noted:
            signal.raise_signal(noted[0])
