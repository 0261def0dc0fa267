"""Bytecode, compiled by the image's own Python without entering the image.

Importing numpy and onnxruntime from a read-only root without bytecode takes twice as long as with it. The image's
interpreter is started through its own dynamic loader, so neither chroot nor privileges are needed, and the bytecode's
version is the one that will read it. `unchecked-hash` bytecode holds no times and needs no look at the source.
"""

from __future__ import annotations

from pathlib import Path

from veilbox.core.errors import ImageError
from veilbox.oci.process import Finished, run

_COMPILE_S = 300.0
_ADVICE = "Rebuild the base with `veilbox image build --refresh`"


def python_version(base: Path) -> str:
    """The version of the Python in an unpacked base, `3.11`.

    Raises:
        ImageError: There is none.
    """
    link = base / "usr" / "bin" / "python3"
    if not link.is_symlink():
        raise ImageError("base has no Python", where=str(link), advice=_ADVICE)
    return link.readlink().name.removeprefix("python")


def run_python(base: Path, arguments: list[str | Path], *, timeout_s: float = _COMPILE_S) -> Finished:
    """Run an unpacked base's Python on this machine, without its site module and reproducibly.

    Raises:
        MachineError: It fails; a base for another architecture cannot be run.
        ImageError: The base has no dynamic loader.
    """
    loaders = sorted((base / "usr" / "lib").glob("*-linux-gnu/ld-linux-*.so.*"))
    if len(loaders) != 1:
        raise ImageError("base has no dynamic loader", where=str(base), actual=str(len(loaders)), advice=_ADVICE)
    interpreter = base / "usr" / "bin" / f"python{python_version(base)}"
    loaded: list[str | Path] = [loaders[0], "--inhibit-cache", "--library-path", loaders[0].parent, interpreter]
    # The hash seed decides the order in which sets are written; -I would ignore both variables.
    environment = {"PYTHONHOME": str(base / "usr"), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    return run([*loaded, "-s", "-S", "-P", *arguments], timeout_s=timeout_s, env=environment, advice=_ADVICE)


def compile_tree(base: Path, root: Path) -> None:
    """Put bytecode beside every module below `root`; it names its source by the path that it has in the image.

    Args:
        base: The unpacked base whose Python compiles; may be `root` itself.
        root: What stands at `/` in the image. Modules are compiled in sorted order in one process, because the order
            decides which constants are shared and thus the bytes.
    """
    options: list[str | Path] = ["-q", "-f", "-j", "1", "--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/"]
    run_python(base, ["-m", "compileall", *options, root])
