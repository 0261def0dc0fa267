"""How much of a frame a detector looked at. On its own, because who passes the word on need not hold numpy."""

from __future__ import annotations

from enum import IntEnum


class Seen(IntEnum):
    """What a detector did not look at may hold anything.

    Whole is also a frame of which each place was looked at, in it or in an earlier one where it was the same.
    """

    NOT = 0
    PARTS = 1
    WHOLE = 2
