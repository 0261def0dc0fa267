"""How an append and a proof behave as the log grows: `audit_log.py [ENTRIES] [FOLDER]`, by default 10 million entries.

The log is filled in large batches; at each power of ten, appends of two entries (an input and its release) are timed as
a job makes them, every one on stable storage, and proofs are made and verified.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from veilbox.audit.checkpoint import verifier_key
from veilbox.audit.files import DescriptorFile
from veilbox.audit.log import Log, LogFiles
from veilbox.audit.merkle import leaf_hash
from veilbox.audit.signing import SigningKey
from veilbox.audit_verifier.folder import verify_folder
from veilbox.audit_verifier.note import PublicKey, open_note
from veilbox.audit_verifier.tree import inclusion_holds

_BATCH = 4000
_RUNS = 50


class _Quick(DescriptorFile):
    """Does not wait for the disk while the log is filled."""

    wait = False

    def sync(self) -> None:
        if self.wait:
            super().sync()


def line(number: int) -> bytes:
    """An entry of 250 bytes, about what a release has."""
    return b'{"bytes":%d,"digest":"sha256:%064x","fill":"%s","type":"release"}' % (number, number, b"x" * 130)


def milliseconds(run: Callable[[int], object]) -> dict[str, float]:
    """Median and the worst of some runs."""
    times = []
    for number in range(_RUNS):
        before = time.perf_counter()
        run(number)
        times.append((time.perf_counter() - before) * 1e3)
    return {"median": round(statistics.median(times), 3), "max": round(max(times), 3)}


def main(entries: int, folder: Path) -> None:
    """Fill, measure, verify; print JSON."""
    key = SigningKey("veilbox/audit/bench", bytes(32))
    public = PublicKey.parse(verifier_key(key.name, key.public))
    (folder / "entries").mkdir(parents=True)
    paths = (folder / "entries" / f"{0:020d}.jsonl", folder / "tree", folder / "checkpoints")
    lines, tree, checkpoints = map(_opened, paths)
    files = LogFiles(entries=lines, tree=tree, checkpoints=checkpoints)
    log = Log(files, key)
    told = []
    for target in (power for power in (10**3, 10**4, 10**5, 10**6, 10**7) if power <= entries):
        _Quick.wait = False
        while log.size < target:
            log.append([line(number) for number in range(log.size, min(log.size + _BATCH, target))])
        _Quick.wait = True
        os.sync()
        told.append({"entries": target, **_measured(log, files, key, public)})
        print(json.dumps(told[-1]), flush=True)
    before = time.perf_counter()
    verify_folder(folder, public)
    bytes_ = {path.name: path.stat().st_size for path in paths}
    print(json.dumps({"verify_all_s": round(time.perf_counter() - before, 1), "bytes": bytes_}))


def _opened(path: Path) -> _Quick:
    return _Quick(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600))


def _measured(log: Log, files: LogFiles, key: SigningKey, public: PublicKey) -> dict[str, object]:
    appended = milliseconds(lambda _: log.append([line(log.size), line(log.size + 1)]))
    opened = milliseconds(lambda _: Log(files, key))
    step = log.size // _RUNS
    proofs = [(number * step, log.proof(number * step)) for number in range(_RUNS)]
    proved = milliseconds(lambda number: log.proof(number * step))
    note = log.note

    def verify(number: int) -> None:
        index, proof = proofs[number]
        head = open_note(note, public, "note")
        if not inclusion_holds(index, head.size, leaf_hash(files.entries.read(*_place(log, index))), proof, head.root):
            raise SystemExit(f"entry {index} is not proved")

    return {
        "append_and_sync_ms": appended,
        "open_ms": opened,
        "prove_ms": proved,
        "verify_inclusion_ms": milliseconds(verify),
    }


def _place(log: Log, index: int) -> tuple[int, int]:
    start = log._tree.end(index)  # noqa: SLF001 - the benchmark reads a line as the reader does
    return start, log._tree.end(index + 1) - start - 1  # noqa: SLF001


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(
            int(sys.argv[1]) if len(sys.argv) > 1 else 10**7,
            Path(sys.argv[2] if len(sys.argv) > 2 else temporary) / "audit",
        )
