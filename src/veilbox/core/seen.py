"""How much of a frame a detector looked at. On its own, because who passes the word on need not hold numpy."""

from __future__ import annotations

from enum import IntEnum


class Seen(IntEnum):
    """What a detector did not look at may hold anything."""

    NOT = 0
    PARTS = 1
    WHOLE = 2
