"""The system calls that each component may make: everything else fails with EPERM.

Plain text beside this file, one name a line, with a comment for what needs it. `base` holds what the container
runtime needs after it has installed the filter, what the loader and Python need to start, the control socket and
the probe; the component's own list adds its libraries' needs. `benchmarks/record_syscalls.py` records them.
"""

from __future__ import annotations

import os

from veilbox.core.errors import UsageError

_BASE = "base"
# The detectors, one container per model, make the same calls, those of the second look too.
_FAMILY_SEPARATOR = "-"
_SAME_CALLS = {"second": "detect"}
# A component reads its list by its first instructions: pathlib and importlib.resources would cost it their import.
_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120


def syscalls(component: str) -> tuple[str, ...]:
    """The allow-list of a component.

    Args:
        component: A container's name, such as `ingest` or `detect-centerface`: what follows a hyphen does not count.

    Returns:
        Names of system calls, ascending, without duplicates.

    Raises:
        UsageError: No list is kept for such a component.
    """
    named = component.partition(_FAMILY_SEPARATOR)[0]
    family = _SAME_CALLS.get(named, named)
    own = os.path.join(_HERE, f"{family}.txt")  # noqa: PTH118
    if not family.isalpha() or family == _BASE or not os.path.isfile(own):  # noqa: PTH113
        raise UsageError("no allow-list of system calls", where=component, advice="Record one with strace first")
    return tuple(sorted({*_names(_read(os.path.join(_HERE, f"{_BASE}.txt"))), *_names(_read(own))}))  # noqa: PTH118


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return file.read()


def _names(text: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]
