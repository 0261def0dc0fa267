"""The door from a policy's file to its values."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import msgspec

from veilbox.core.errors import SourceMissing, UsageError
from veilbox.core.policy import Policy

_ADVICE = "See docs/reference/policy.md"
_VERSION = 1
# Every field said once is 2 KB; a site's zones and models may be many.
_MAX_BYTES = 1 << 20


def read_policy(path: Path) -> Policy:
    """Read a policy.

    Args:
        path: `.json` is read as JSON, everything else as TOML.

    Raises:
        SourceMissing: It cannot be opened.
        UsageError: It is no policy: one that is half understood is none.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SourceMissing("policy cannot be opened", where=str(path), actual=error.strerror or str(error)) from error
    try:
        return parse_policy(raw, as_json=path.suffix == ".json")
    except UsageError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise error.located(where, advice=_ADVICE) from error


def parse_policy(raw: bytes, *, as_json: bool) -> Policy:
    """A policy from its bytes: `version = 1`, then `Policy`'s fields; what is not said takes its default.

    Args:
        raw: The file.
        as_json: Whether it is JSON; otherwise TOML.

    Raises:
        UsageError: It is too large, not readable, has a field that no policy has, or a value is out of bounds.
    """
    if len(raw) > _MAX_BYTES:
        raise UsageError("policy is too large", expected=f"at most {_MAX_BYTES} bytes")
    try:
        said = msgspec.json.decode(raw, type=dict) if as_json else msgspec.toml.decode(raw, type=dict)
        if said.pop("version", None) != _VERSION:
            raise UsageError("unknown version of policy", where="version", expected=str(_VERSION))
        _refuse_unknown(said, Policy, "")
        return msgspec.convert(said, Policy)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError("not a policy", actual=str(error)) from error


def _refuse_unknown(said: Any, kind: Any, where: str) -> None:
    """Refuse a field that a policy does not have: what was meant by it would not happen."""
    for inner in typing.get_args(kind):
        for number, one in enumerate(said if isinstance(said, list) else ()):
            _refuse_unknown(one, inner, f"{where}[{number}]")
    if not (dataclasses.is_dataclass(kind) and isinstance(said, dict)):
        return
    known = typing.get_type_hints(kind)
    for name, value in said.items():
        place = f"{where}.{name}" if where else name
        if name not in known:
            raise UsageError("a policy has no such field", where=place, expected=", ".join(known), advice=_ADVICE)
        _refuse_unknown(value, known[name], place)
