"""What a rule is, and what it says when it is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from veilbox.scan.tree import Place
from veilbox.scan.workload import Format, Workload


class Severity(StrEnum):
    """How much an attacker in the container gains."""

    HIGH = "high"  # the host, the footage, or a way out
    MEDIUM = "medium"  # one wall of several
    LOW = "low"  # a wall that cannot be judged, or one against accidents


class Profile(StrEnum):
    """A set of rules.

    The first two say what the Pod Security Standards say, no more and no less.
    """

    PSS_BASELINE = "pss-baseline"
    PSS_RESTRICTED = "pss-restricted"
    VEILBOX = "veilbox"


@dataclass(frozen=True, slots=True)
class Fault:
    """A place where a rule is broken, and what stands there instead."""

    place: Place
    found: str


Check = Callable[[Workload], Iterable[Fault]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: Stable; suppressions name it.
        severity: See `Severity`.
        title: What is wrong, as a clause.
        gains: What an attacker gains from it.
        fix: What mends it.
        references: Clauses of standards, as people cite them.
        profiles: The sets that it belongs to.
        checks: By format; a format that cannot break the rule is not there.
    """

    id: str
    severity: Severity
    title: str
    gains: str
    fix: str
    references: tuple[str, ...]
    profiles: frozenset[Profile]
    checks: Mapping[Format, Check]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A broken rule in a file.

    Attributes:
        rule: Which.
        file: As it was named.
        document: Counted from 1 among the file's documents.
        line: Counted from 1.
        column: Counted from 1.
        path: RFC 9535 JSONPath in the document.
        subject: The workload, `Pod/camera`, and the container where it is one's.
        found: What stands there.
        suppressed: Why somebody took it on himself; empty if nobody did.
        suppressed_in: `file`, `annotation`, or empty.
    """

    rule: Rule
    file: str
    document: int
    line: int
    column: int
    path: str
    subject: str
    found: str
    suppressed: str = ""
    suppressed_in: str = ""
