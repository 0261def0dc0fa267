"""The door through which a peer's JSON comes in.

Stricter than the JSON library alone: no unknown, missing or repeated field, no integer beyond 64 bits, and no
exception but `ProtocolError`, whatever the checks of the value's own class raise.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from veilbox.core.errors import ProtocolError, VeilboxError

T = TypeVar("T")

# Later sums and products of such numbers stay far from any limit, and printing them from surprises.
_MAX_INTEGER = (1 << 63) - 1
# Configure is the deepest message: policy, detection, classes.
_MAX_DEPTH = 8


def to_json(value: object) -> bytes:
    """The JSON of a value of frozen dataclasses."""
    return msgspec.json.encode(value)


def parse(data: bytes, what: str) -> object:
    """JSON as lists, dicts, strings and bounded numbers.

    Args:
        data: From a peer.
        what: What it should be, for the error.

    Raises:
        ProtocolError: It is no JSON, too deep, or has a number beyond its bounds.
    """
    try:
        tree: object = msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"{what} is no JSON", actual=_words(error)) from error
    _bounded(tree, what, _MAX_DEPTH)
    return tree


def read(tree: object, kind: type[T], what: str) -> T:
    """The value that parsed JSON stands for.

    Args:
        tree: From `parse`.
        kind: The class of the value.
        what: What it should be, for the error.

    Raises:
        ProtocolError: A field is unknown, missing, of another type or refused by its class.
    """
    try:
        value = msgspec.convert(tree, kind, strict=True)
        same = msgspec.json.decode(msgspec.json.encode(value)) == tree
    except (msgspec.MsgspecError, VeilboxError, ValueError, ArithmeticError, TypeError) as error:
        raise ProtocolError(f"{what} is not valid", actual=_words(error)) from error
    if not same:
        raise ProtocolError(f"{what} has fields too many or too few", expected=f"the fields of {kind.__name__}")
    return value


def _bounded(tree: object, what: str, depth: int) -> None:
    if depth == 0:
        raise ProtocolError(f"{what} is nested too deeply", expected=f"at most {_MAX_DEPTH} levels")
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            _bounded(part, what, depth - 1)
    elif isinstance(tree, int | float) and not -_MAX_INTEGER <= tree <= _MAX_INTEGER:
        raise ProtocolError(f"{what} has a number out of bounds", expected=f"within +-{_MAX_INTEGER}")


def _words(error: Exception) -> str:
    return str(error)[:300]
