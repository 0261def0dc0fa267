"""The check that every number from a peer passes before it is used."""

from __future__ import annotations

from veilbox.core.errors import ProtocolError


def inside(name: str, value: int, low: int, high: int) -> None:
    """Refuse a number outside [low, high].

    Args:
        name: What the number is, for the error.
        value: As the peer sent it.
        low: The smallest that is allowed.
        high: The largest that is allowed.

    Raises:
        ProtocolError: It is smaller or larger.
    """
    if not low <= value <= high:
        raise ProtocolError(f"{name} out of bounds", expected=f"{low} to {high}", actual=str(value))
