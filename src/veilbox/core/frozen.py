"""Frozen values: the standard library's dataclasses, whose methods are written when they are first called.

`dataclass(frozen=True, slots=True)` writes and compiles six methods for every class while its module is imported, half
a millisecond of processor time each. A component's modules have some ninety such classes, of which it makes a dozen,
and seven components start at once on few processors. `frozen` makes the class and its fields at once and leaves each
method to its first call; from then on it is the standard library's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from typing import Any, NoReturn, TypeVar, dataclass_transform, overload

Kind = TypeVar("Kind")

# By method, what has the standard library write it and as little else as it can. A class may have any of its own.
_LATE: Mapping[str, Mapping[str, bool]] = {
    "__init__": {"init": True, "repr": False, "eq": False, "frozen": True},
    "__repr__": {"init": False, "repr": True, "eq": False},
    "__eq__": {"init": False, "repr": False, "eq": True},
    "__hash__": {"init": False, "repr": False, "eq": False, "unsafe_hash": True},
}


@overload
def frozen(kind: type[Kind], /) -> type[Kind]: ...
@overload
def frozen(*, kw_only: bool) -> Callable[[type[Kind]], type[Kind]]: ...
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(kind: type[Any] | None = None, /, *, kw_only: bool = True) -> Any:
    """What `dataclass(frozen=True, kw_only=True, slots=True)` makes, sooner.

    `fields`, `replace`, `asdict`, `copy`, `pickle` and msgspec take it for the dataclass that it is. No dataclass
    inherits from it.

    Args:
        kind: A class with annotated fields and a docstring.
        kw_only: Whether its constructor takes keywords only.

    Returns:
        A class of the same name; what makes one, if none is given.
    """
    return _made(kind, kw_only=kw_only) if kind is not None else lambda other: _made(other, kw_only=kw_only)


def _made(written: type[Any], *, kw_only: bool) -> type[Any]:
    late = [name for name in _LATE if vars(written).get(name) is None]
    kind = dataclass(init=False, repr=False, eq=False, kw_only=kw_only, slots=True)(written)
    for name in late:
        setattr(kind, name, _late(kind, name))
    for name, method in _BY_FIELDS.items():
        setattr(kind, name, method)
    return kind


def _late(kind: type[Any], name: str) -> Callable[..., Any]:
    """A method that puts the written one in its place."""

    def first(self: object, *arguments: Any, **named: Any) -> Any:
        setattr(kind, name, _written(kind, name))
        return getattr(kind, name)(self, *arguments, **named)

    return first


def _written(kind: type[Any], name: str) -> Callable[..., Any]:
    """The method that the standard library writes for a class with the same fields."""
    own = fields(kind)
    parts: dict[str, Any] = {one.name: _copied(one) for one in own}
    parts |= {"__annotations__": {one.name: one.type for one in own}}
    parts |= {"__doc__": kind.__doc__, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    if hasattr(kind, "__post_init__"):
        parts["__post_init__"] = kind.__post_init__  # a constructor calls it only if it stands there
    twin: type[Any] = dataclass(match_args=False, **_LATE[name])(type(kind.__name__, (), parts))
    method: Callable[..., Any] = vars(twin)[name]
    return method


def _copied(one: Field[Any]) -> Any:
    options: dict[str, Any] = {"repr": one.repr, "compare": one.compare, "hash": one.hash, "kw_only": one.kw_only}
    if one.default_factory is not MISSING:
        return field(default_factory=one.default_factory, **options)
    return field(default=one.default, **options)


def _refused(_self: object, name: str, _value: object = None) -> NoReturn:
    raise FrozenInstanceError(f"field {name!r} of a frozen value")


def _state(self: Any) -> list[Any]:
    return [getattr(self, one.name) for one in fields(self)]


def _restored(self: Any, state: list[Any]) -> None:
    for one, part in zip(fields(self), state, strict=True):
        object.__setattr__(self, one.name, part)


# What the standard library writes or defines for a frozen class with slots; the same for all.
_BY_FIELDS: Mapping[str, Callable[..., Any]] = {
    "__setattr__": _refused,
    "__delattr__": _refused,
    "__getstate__": _state,
    "__setstate__": _restored,
}
