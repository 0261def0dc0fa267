"""The system calls that each component may make: everything else fails with EPERM.

Plain text beside this file, one name a line, with a comment for what needs it. `base` holds what the container
runtime needs after it has installed the filter, what the loader and Python need to start, the control socket and
the probe; the component's own list adds its libraries' needs. `benchmarks/record_syscalls.py` records them.
"""

from __future__ import annotations

from importlib.resources import files

from veilbox.core.errors import UsageError

_BASE = "base"
# The detectors, one container per model, make the same calls.
_FAMILY_SEPARATOR = "-"


def syscalls(component: str) -> tuple[str, ...]:
    """The allow-list of a component.

    Args:
        component: A container's name, such as `ingest` or `detect-centerface`: what follows a hyphen does not count.

    Returns:
        Names of system calls, ascending, without duplicates.

    Raises:
        UsageError: No list is kept for such a component.
    """
    family = component.partition(_FAMILY_SEPARATOR)[0]
    lists = files(__package__)
    own = lists / f"{family}.txt"
    if not family.isalpha() or family == _BASE or not own.is_file():
        raise UsageError("no allow-list of system calls", where=component, advice="Record one with strace first")
    return tuple(sorted({*_names((lists / f"{_BASE}.txt").read_text("utf-8")), *_names(own.read_text("utf-8"))}))


def _names(text: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]
