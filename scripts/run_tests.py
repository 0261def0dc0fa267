"""Run the whole suite as two runs of pytest, side by side: tests that start containers, and tests that start none.

The first wait more than they compute, so the second fill the other processor. Not pytest-xdist: a worker of its has a
second thread, and a process with two threads may not make a user namespace (user_namespaces(7)).

    python scripts/run_tests.py -v --durations=15      # arguments are pytest's
    python scripts/run_tests.py -m registry            # who chooses by marker gets one run of pytest

The second run's output follows the first's. The last line adds up what both say.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from io import BufferedIOBase
from typing import cast

import pytest

_WITH, _WITHOUT = "sealed", "not sealed"
_COUNT = re.compile(rb"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed|deselected|warnings?)\b")
_SINGULAR = {b"error": b"errors", b"warning": b"warnings"}


def main(arguments: Sequence[str]) -> int:
    """Returns pytest's status: the worse of the two runs'; no tests at all is what it is for pytest."""
    if any(word.startswith("-m") for word in arguments):
        return subprocess.run([*_PYTEST, *arguments], check=False).returncode
    begun = time.monotonic()
    with tempfile.TemporaryFile() as kept:
        beside = subprocess.Popen([*_PYTEST, *arguments, "-m", _WITHOUT], stdout=kept, stderr=subprocess.STDOUT)
        try:
            first = subprocess.Popen([*_PYTEST, *arguments, "-m", _WITH], stdout=subprocess.PIPE)
            last = _passed_on(cast("BufferedIOBase", first.stdout))
            statuses = {_status(first), _status(beside)}
        except BaseException:
            beside.terminate()  # an interrupt reaches both from the terminal; anything else only us
            beside.wait()
            raise
        kept.seek(0)
        lasts = [last, _passed_on(cast("BufferedIOBase", kept))]
    print(_summary(lasts, time.monotonic() - begun))
    found = statuses - {pytest.ExitCode.NO_TESTS_COLLECTED}
    return max(found, default=int(pytest.ExitCode.NO_TESTS_COLLECTED))


def _status(run: subprocess.Popen[bytes]) -> int:
    """A run that a signal ended has failed too."""
    status = run.wait()
    return status if status >= 0 else int(pytest.ExitCode.INTERNAL_ERROR)


_CHUNK = 65536
_PYTEST = (sys.executable, "-u", "-m", "pytest")


def _passed_on(output: BufferedIOBase) -> bytes:
    """Print everything as it comes, dot by dot; returns pytest's last line, with its counts."""
    end = b""
    while chunk := output.read1(_CHUNK):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        end = (end + chunk)[-_CHUNK:]
    counted = [line for line in end.splitlines() if _COUNT.search(line) and b" in " in line]
    return counted[-1] if counted else b""


def _summary(lasts: Sequence[bytes], seconds: float) -> str:
    counts: Counter[bytes] = Counter()
    for line in lasts:
        for number, kind in _COUNT.findall(line):
            counts[_SINGULAR.get(kind, kind)] += int(number)
    del counts[b"deselected"]  # by us: each run leaves the other's tests
    told = ", ".join(f"{number} {kind.decode()}" for kind, number in counts.items())
    return f"=== {told or 'no tests ran'} in {seconds:.2f}s, two runs side by side ==="


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
