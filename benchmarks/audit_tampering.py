"""Every bit of a log of 1,000 entries flipped, and each of its files cut at every length: is it found?

`audit_tampering.py [--only flips|cuts] [--file NAME] [--processes N] [--part K/N]`: all of it takes about an hour of
one core, the cuts alone a ninth of it. `--part` tries every Nth place from the Kth on.

Each try runs the whole verifier over the folder. One thing is remembered between tries: that the key signed certain
bytes, since that depends on nothing else; a flip in a checkpoint has other bytes and is asked anew.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "audit"))

from log_workshop import NAMES, PUBLIC, write_log

from veilbox.audit_verifier.folder import verify_folder
from veilbox.audit_verifier.note import PublicKey
from veilbox.core.errors import LogError

_ENTRIES = 1000
_BATCH = 100


class _RememberingKey(PublicKey):
    """A key that checks the same signature over the same bytes once."""

    def signed(self, message: bytes, signature: bytes) -> bool:
        return _asked_once(message, signature)


@functools.lru_cache(maxsize=_ENTRIES)
def _asked_once(message: bytes, signature: bytes) -> bool:
    return PUBLIC.signed(message, signature)


@dataclass(slots=True)
class _Tried:
    """What was tried; a miss is a file's name, a place in it, and the bit or `cut`."""

    flips: int = 0
    cuts: int = 0
    missed: list[tuple[str, int, str]] = field(default_factory=list)
    cpu_s: float = 0.0


def main() -> None:
    """Flip, verify, flip back; cut; print what was not found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("flips", "cuts"))
    parser.add_argument("--file", choices=NAMES, action="append")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--part", default="1/1")
    given = parser.parse_args()
    part, parts = (int(number) for number in given.part.split("/"))
    began = time.monotonic()
    names = tuple(given.file or NAMES)
    shares = [
        (names, given.only, parts * share + part - 1, parts * given.processes) for share in range(given.processes)
    ]
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        tried = pool.starmap(_share, shares)
    print(
        json.dumps(
            {
                "files": names,
                "part": given.part,
                "flips": sum(one.flips for one in tried),
                "cuts": sum(one.cuts for one in tried),
                "missed": [miss for one in tried for miss in one.missed],
                "cpu_s": round(sum(one.cpu_s for one in tried), 1),
                "seconds": round(time.monotonic() - began, 1),
            }
        )
    )


def _share(names: tuple[str, ...], only: str | None, first: int, step: int) -> _Tried:
    """Every `step`th place of the files, from `first` on, in a log of this process's own."""
    tried = _Tried()
    key = _RememberingKey(name=PUBLIC.name, identity=PUBLIC.identity, key=PUBLIC.key, text=PUBLIC.text)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        root = Path(folder) / "audit"
        write_log(root, _ENTRIES, batch=_BATCH)
        if _found(root, key):
            raise SystemExit("the log is not whole before anything was done to it")
        for name in names:
            path = next((root / "entries").iterdir()) if name == "entries" else root / name
            places = range(first, path.stat().st_size, step)
            if only != "cuts":
                _flip(root, path, key, places, tried)
            if only != "flips":
                _cut(root, path, key, places, tried)
    tried.cpu_s = time.process_time()
    return tried


def _flip(root: Path, path: Path, key: PublicKey, places: range, tried: _Tried) -> None:
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for at in places:
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([data[at] ^ 1 << bit]), at)
                tried.flips += 1
                if not _found(root, key):
                    tried.missed.append((path.name, at, str(bit)))
            os.pwrite(file.fileno(), data[at : at + 1], at)


def _cut(root: Path, path: Path, key: PublicKey, lengths: range, tried: _Tried) -> None:
    """From the longest to nothing, so that nothing has to be put back in between."""
    with _put_back(path):
        for length in reversed(lengths):
            os.truncate(path, length)
            tried.cuts += 1
            if not _found(root, key):
                tried.missed.append((path.name, length, "cut"))


@contextmanager
def _put_back(path: Path) -> Iterator[None]:
    data = path.read_bytes()
    try:
        yield
    finally:
        path.write_bytes(data)


def _found(root: Path, key: PublicKey) -> bool:
    try:
        verify_folder(root, key)
    except LogError:
        return True
    return False


if __name__ == "__main__":
    main()
