"""Where a component finds what is its own.

A container has a root of its own, and these places are fixed. A sealed process shares the host's root and is told, by
two variables of its environment, where its image and its rings lie; walls that were laid before it began decide what
it may open there, whatever the variables say.
"""

from __future__ import annotations

import os

ROOT_VARIABLE = "VEILBOX_ROOT"
RINGS_VARIABLE = "VEILBOX_RINGS"
_SEPARATOR = ":"


def models() -> str:
    """The folder of the image's model layer."""
    return os.environ.get(ROOT_VARIABLE, "") + "/models"


def rings() -> tuple[str, ...]:
    """The folders in which it makes files: those of the rings that it writes."""
    told = os.environ.get(RINGS_VARIABLE)
    return ("/rings",) if told is None else tuple(folder for folder in told.split(_SEPARATOR) if folder)


def variables(root: str, written: tuple[str, ...]) -> dict[str, str]:
    """What a sealed process is told.

    Args:
        root: Where its image lies.
        written: The folders of the rings that it writes; no name of ours has a colon.
    """
    return {ROOT_VARIABLE: root, RINGS_VARIABLE: _SEPARATOR.join(written)}
