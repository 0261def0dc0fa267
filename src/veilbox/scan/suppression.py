"""Findings that somebody took on himself: with a reason, in a file beside or in the configuration itself."""

from __future__ import annotations

import dataclasses
import fnmatch
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec

from veilbox.core.errors import UsageError
from veilbox.scan.rule import Finding
from veilbox.scan.tree import Place

# `scan.veilbox.io/RULE: REASON`, an annotation of a pod or bundle, a label of a Compose service.
ANNOTATION = "scan.veilbox.io/"

_ADVICE = "See docs/reference/scan.md"


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rule: str
    reason: str
    file: str = "*"
    path: str = "*"
    until: date | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    suppress: tuple[_Line, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Suppression:
    """One line of a suppression file.

    Attributes:
        rule: A rule's id.
        file: Shell pattern for the file's name as it was given.
        path: Shell pattern for the JSONPath, in which `[` and `]` stand for themselves.
        reason: Why; never empty.
        until: The last day on which it holds; None for always.
    """

    rule: str
    file: str
    path: str
    reason: str
    until: date | None = None

    def covers(self, finding: Finding, today: date) -> bool:
        """Whether it speaks of this finding and still holds."""
        return (
            self.rule == finding.rule.id
            and (self.until is None or today <= self.until)
            and fnmatch.fnmatchcase(finding.file, self.file)
            and fnmatch.fnmatchcase(finding.path, self.path.replace("[", "[[]"))
        )


def parse_suppressions(text: str, rules: Iterable[str], where: str) -> tuple[Suppression, ...]:
    """Read a suppression file.

    Args:
        text: TOML with tables `[[suppress]]`.
        rules: Known ids; a line for another one would silently do nothing.
        where: The file's name, for messages.

    Raises:
        UsageError: It is none, names no rule, or gives no reason.
    """
    try:
        raw: dict[str, Any] = tomllib.loads(text)
        lines = msgspec.convert(raw, _File).suppress
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError("not a suppression file", where=where, actual=str(error), advice=_ADVICE) from error
    known = frozenset(rules)
    for line in lines:
        if line.rule not in known:
            raise UsageError("no such rule", where=where, actual=line.rule, advice=_ADVICE)
        if not line.reason.strip():
            raise UsageError("a suppression needs a reason", where=where, actual=line.rule, advice=_ADVICE)
    return tuple(
        Suppression(rule=line.rule, file=line.file, path=line.path, reason=line.reason, until=line.until)
        for line in lines
    )


def apply(finding: Finding, suppressions: Iterable[Suppression], annotations: Iterable[Place], today: date) -> Finding:
    """The finding, with a reason if one was given; an annotation counts before a file."""
    for place in annotations:
        reason = place.get(f"{ANNOTATION}{finding.rule.id}").text.strip() or _labelled(place, finding.rule.id)
        if reason:
            return dataclasses.replace(finding, suppressed=reason, suppressed_in="annotation")
    for suppression in suppressions:
        if suppression.covers(finding, today):
            return dataclasses.replace(finding, suppressed=suppression.reason, suppressed_in="file")
    return finding


def _labelled(place: Place, rule: str) -> str:
    """Compose's other form of labels, a list of `NAME=VALUE`."""
    for item in place.each():
        name, _, reason = item.text.partition("=")
        if name == f"{ANNOTATION}{rule}":
            return reason.strip()
    return ""
