"""A fuzz target: bytes become a layer, and nothing but files of that layer or an `ImageError` may come of it.

`python benchmarks/fuzz_unpack.py [SECONDS] [SEED]` mutates small archives; it prints the seed and the bytes of what it
finds, and exits 1. With `atheris` installed, `--atheris` hands the same target to libFuzzer, guided by coverage
(`python benchmarks/fuzz_unpack.py --atheris -max_total_time=600`).
"""

from __future__ import annotations

import importlib
import io
import random
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType

from veilbox.core.errors import ImageError
from veilbox.oci.image import tar, unpack
from veilbox.oci.image.squash import delete
from veilbox.oci.image.unpack import Bounds, Deletions, Extractor

BOUNDS = Bounds(entries=200, bytes=1 << 20)
WORK = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # noqa: S108  # our own folder in it, in memory
DEFAULT_S = 60.0


def target(data: bytes) -> None:
    """Extract a tar, take away what it deletes, and look around.

    Raises:
        AssertionError: Something got out of the folder, or an entry is what no entry may be.
    """
    with tempfile.TemporaryDirectory(dir=WORK) as name:
        work = Path(name)
        (work / "outside").write_bytes(b"not theirs")
        (work / "root").mkdir()
        deletions = Deletions()
        try:
            Extractor(work / "root", BOUNDS, deletions=deletions).extract(io.BytesIO(data).read)
        except ImageError:
            pass
        else:
            delete(work / "root", deletions)
        _look_around(work)


def _look_around(work: Path) -> None:
    require(sorted(path.name for path in work.iterdir()) == ["outside", "root"], "a new neighbour")
    require((work / "outside").read_bytes() == b"not theirs", "a changed neighbour")
    for path in (work / "root").rglob("*"):
        kept = path.is_symlink() or path.is_dir() or path.is_file()
        require(kept and (path.is_symlink() or not path.lstat().st_mode & 0o6000), f"an odd entry: {path}")
        require(not path.is_symlink() or not path.readlink().is_absolute(), f"an absolute link: {path}")


def require(holds: bool, what: str) -> None:  # noqa: FBT001  # an assertion that -O leaves in
    """Raise unless it holds."""
    if not holds:
        raise AssertionError(what)


def seeds() -> list[bytes]:
    """Small archives with one of everything."""
    found = []
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as archive:
            for name, kind, link in (
                ("a", tarfile.DIRTYPE, ""),
                ("a/f", tarfile.REGTYPE, ""),
                ("a/l", tarfile.SYMTYPE, "../a"),
                ("a/h", tarfile.LNKTYPE, "a/f"),
                ("a/.wh.x", tarfile.REGTYPE, ""),
                ("a/.wh..wh..opq", tarfile.REGTYPE, ""),
                (("long/" * 30 + "n") if form != tarfile.USTAR_FORMAT else "n", tarfile.REGTYPE, ""),
            ):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, link
                archive.addfile(info)
        found.append(file.getvalue()[: 512 * 20])
    return found


INTERESTING = (
    b"..",
    b"/",
    b"\0",
    b"\xff",
    b"0",
    b"1",
    b"2",
    b"5",
    b"L",
    b"K",
    b"x",
    b"g",
    b"S",
    b".wh.",
    b"77777777777",
)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Change a few places; half of the time with sums that fit again, so that more than the first header is read."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed))
        piece = chance.choice(INTERESTING)
        changed[at : at + len(piece)] = piece
    if chance.random() < 0.3:
        block = 512 * chance.randrange(len(changed) // 512)
        changed[block:block] = changed[block : block + 512]
    if chance.random() < 0.8:
        for start in range(0, len(changed) - 511, 512):
            mend(changed, start)
    return bytes(changed)


def mend(changed: bytearray, start: int) -> None:
    """Give a header the sum that it has."""
    if changed[start + 257 : start + 262] == b"ustar":
        changed[start + 148 : start + 156] = b" " * 8
        changed[start + 148 : start + 156] = b"%06o\0 " % sum(changed[start : start + 512])


def search(seconds: float, seed: int) -> int:
    """Mutate until the time is over; how many were tried."""
    chance = random.Random(seed)  # noqa: S311  # repeatable, not secret
    pool, tried, end = seeds(), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutate(chance.choice(pool), chance)
        tried += 1
        try:
            target(data)
        except Exception:
            sys.stderr.write(f"seed {seed}, try {tried}: {data.hex()}\n")
            raise
    return tried


def mended_target(data: bytes) -> None:
    """The target behind its checksums, which coverage alone would hardly guess."""
    changed = bytearray(data)
    for start in range(0, len(changed) - 511, 512):
        mend(changed, start)
    target(bytes(changed))


def functions(*modules: ModuleType) -> Iterator[FunctionType]:
    """What coverage is counted in: the functions and methods of our own files."""
    for module in modules:
        for thing in list(vars(module).values()):
            inside = vars(thing).values() if isinstance(thing, type) else (thing,)
            ours = (one for one in inside if isinstance(one, FunctionType) and one.__module__ == module.__name__)
            yield from ours


def guided(argv: list[str], one: Callable[[bytes], None]) -> None:
    """Hand the target to libFuzzer."""
    atheris = importlib.import_module("atheris")
    for function in functions(tar, unpack):
        atheris.instrument_func(function)
    atheris.Setup(argv, one)
    atheris.Fuzz()


def main(argv: list[str]) -> int:
    """Run one of the two."""
    if "--atheris" in argv:
        guided([word for word in argv if word != "--atheris"], mended_target)
        return 0
    seconds = float(argv[1]) if len(argv) > 1 else DEFAULT_S
    seed = int(argv[2]) if len(argv) > 2 else random.SystemRandom().randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    sys.stdout.write(f"{search(seconds, seed)} archives, nothing found\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
