"""`veilbox` with frames that come at a camera's pace: what a mode adds to each of them.

    paced.py FRAMES_A_SECOND anonymize FILM -o OUTPUT --low-latency --report REPORT

ingest has another code layer, in which each decoded frame waits for its time; all else is the product's. The report's
`latency_ms` is then what a frame of a live camera waits from the end of its decoding to its encoder. A process of its
own, because it becomes a supervisor.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hostile_layer import stand_ins

from veilbox.cli.main import main as veilbox
from veilbox.components import ingest

# A lock that nobody frees is the one wait with an end that ingest's list of system calls allows.
_PACED = """

import _thread
import time

_decoded = _pictures
_never = _thread.allocate_lock()
_never.acquire()


def _pictures(source, on_audio):
    begun = None
    for number, picture in enumerate(_decoded(source, on_audio)):
        begun = time.monotonic() if begun is None else begun
        wait_s = begun + number / {rate} - time.monotonic()
        if wait_s > 0:
            _never.acquire(timeout=wait_s)
        yield picture
"""


def main(rate: float, arguments: list[str]) -> int:
    """Run the command; returns its exit status."""
    text = Path(ingest.__file__).read_text("utf-8") + _PACED.format(rate=rate)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # a container's root is another user, and must be able to search it
        with stand_ins(Path(folder), {"ingest": {"veilbox/components/ingest.py": text}}):
            return veilbox(arguments)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
