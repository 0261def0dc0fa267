"""Images whose code layer is another: the same base and dependencies, hostile code in the place of one module."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from veilbox.oci.admit import RunnableImage, admit

HOSTILE = Path(__file__).parent / "hostile"
_PACKAGES = Path("usr/lib/python3/site-packages")

# The module that gives way, and what stands there instead.
# Taken over after its start, behind its own walls; and a component that never laid any.
TAKEN_OVER = {"veilbox/components/entry.py": "from hostile.stand_in import main as main\n"}
NEVER_SEALED = {
    "veilbox/components/__main__.py": "import sys\nfrom hostile.stand_in import main\nmain(sys.argv[1:], first_ns=1)\n"
}


def hostile_layer(image: RunnableImage, folder: Path, modules: Mapping[str, str]) -> RunnableImage:
    """The image with a code layer of the test's.

    Args:
        image: The admitted one.
        folder: Where the layer is made; everybody must be able to search it.
        modules: By the module's path under site-packages, its text.
    """
    code = next(layer for layer in image.layers if (layer / _PACKAGES / "veilbox/components").is_dir())
    shutil.copytree(code, folder, symlinks=True)
    packages = folder / _PACKAGES
    for cache in packages.rglob("__pycache__"):
        shutil.rmtree(cache)  # bytecode of what is replaced
    shutil.copytree(HOSTILE, packages / "hostile", ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in modules.items():
        (packages / path).write_text(text, encoding="utf-8")
    return replace(image, layers=tuple(folder if layer == code else layer for layer in image.layers))


@contextmanager
def stand_ins(folder: Path, modules: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Give the named components hostile code: the trust policy, which would refuse them, is gone round here.

    Args:
        folder: For the layers.
        modules: By component, as in `hostile_layer`.
    """
    door = _replacing(admit, folder, modules)
    with patch("veilbox.orchestrate.machine.admit", door), patch("veilbox.orchestrate.models.admit", door):
        yield


def _replacing(
    door: Callable[..., RunnableImage], folder: Path, modules: Mapping[str, Mapping[str, str]]
) -> Callable[..., RunnableImage]:
    number = itertools.count()

    def admitted(*arguments: object, **options: object) -> RunnableImage:
        image = door(*arguments, **options)
        name = image.name
        if name not in modules:
            return image
        # A layer's folder has a digest for its name, which the job's lease on its layers reads. Some images run twice.
        layer = hashlib.sha256(f"{name} {next(number)}".encode()).hexdigest()
        return hostile_layer(image, folder / layer, modules[name])

    return admitted
