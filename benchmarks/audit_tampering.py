"""Every byte of a log of 1,000 entries, one bit flipped, by chance or each of the eight: is it found?

`audit_tampering.py [--all]`: one bit of every byte takes some minutes, all eight an hour.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "audit"))

from log_workshop import NAMES, PUBLIC, write_log

from veilbox.audit_verifier.folder import verify_folder
from veilbox.core.errors import LogError


def main() -> None:
    """Flip, verify, flip back; print what was not found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    every = parser.parse_args().all
    rng = random.Random(6)  # noqa: S311 - chance, not a secret
    began = time.monotonic()
    tried, missed = 0, []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        root = Path(folder) / "audit"
        write_log(root, 1000, batch=100)
        for name in NAMES:
            path = next((root / "entries").iterdir()) if name == "entries" else root / name
            data = path.read_bytes()
            with path.open("r+b", buffering=0) as file:
                for at in range(len(data)):
                    for bit in range(8) if every else (rng.randrange(8),):
                        file.seek(at)
                        file.write(bytes([data[at] ^ 1 << bit]))
                        tried += 1
                        if not _found(root):
                            missed.append((name, at, bit))
                        file.seek(at)
                        file.write(data[at : at + 1])
    print(json.dumps({"flips": tried, "missed": missed, "seconds": round(time.monotonic() - began, 1)}))


def _found(root: Path) -> bool:
    try:
        verify_folder(root, PUBLIC)
    except LogError:
        return True
    return False


if __name__ == "__main__":
    main()
