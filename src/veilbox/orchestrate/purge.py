"""Age -> nothing: destroy what was kept long enough, beginning with its key.

First the log is told what will go. Then the key goes: from then on nobody opens what it sealed, whatever happens next.
Then the log is told that it is gone, and only then the files are cleared away, so that a purge that was killed is
finished by the next one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from veilbox.core.errors import UsageError
from veilbox.orchestrate.audit_trail import AuditTrail
from veilbox.orchestrate.quarantined import QuarantinedOutputs
from veilbox.orchestrate.sealed_sources import SealedSources

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGE = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[smhdw])")


class Purgeable(Protocol):
    """Something that rests on disk under a key of its job.

    Attributes:
        job: The job that put it there.
        item: The source's number in that job.
        path: Where it lies.
        digest: Of what was encrypted.
    """

    @property
    def job(self) -> str:
        """See above."""

    @property
    def item(self) -> int:
        """See above."""

    @property
    def path(self) -> str:
        """See above."""

    @property
    def digest(self) -> str:
        """See above."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Purged:
    """One thing that was destroyed, or would be.

    Attributes:
        what: `source` or `quarantine`.
        job: The job that kept it.
        item: The source's number in that job.
        path: Where it lay.
        digest: Of what its key had encrypted.
    """

    what: str
    job: str
    item: int
    path: str
    digest: str


def age_s(text: str) -> int:
    """Seconds of an age such as `30d`.

    Raises:
        UsageError: It is none.
    """
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(
            "not an age", where="--older-than", expected="a number and s, m, h, d or w, such as 30d", actual=text
        )
    return int(match["number"]) * _UNITS_S[match["unit"]]


def purge(
    store: Path,
    before_s: float,
    session: Callable[[], AbstractContextManager[AuditTrail]],
    *,
    dry_run: bool = False,
) -> list[Purged]:
    """Destroy encrypted sources, and outputs in quarantine, that were put there before a moment.

    Args:
        store: The store's root.
        before_s: Seconds since the epoch.
        session: How to reach the log; asked for only if there is something to destroy.
        dry_run: Only say what would go.

    Returns:
        What was destroyed, the oldest first.

    Raises:
        VeilboxError: The log cannot be told; then keys may be destroyed, and the next purge tells it.
    """
    sources = SealedSources(store)
    quarantine = QuarantinedOutputs(store)
    found, kept = sources.older_than(before_s), quarantine.older_than(before_s)
    if (found or kept) and not dry_run:
        with session() as trail:
            for sealed in found:
                trail.due("key", sealed.digest, item=sealed.item, of=sealed.job)
            for output in kept:
                trail.due("quarantine", output.digest, item=output.item, of=output.job)
            trail.flush()
            for sealed in found:
                sources.destroy_key(sealed)
                trail.deleted("key", sealed.digest, item=sealed.item, of=sealed.job)
            for output in kept:
                quarantine.destroy_key(output)
                trail.deleted("quarantine", output.digest, item=output.item, of=output.job)
            trail.flush()
            for sealed in found:
                sources.forget(sealed)
            for output in kept:
                quarantine.forget(output)
    return _purged("source", found) + _purged("quarantine", kept)


def _purged(what: str, found: Sequence[Purgeable]) -> list[Purged]:
    return [Purged(what=what, job=one.job, item=one.item, path=one.path, digest=one.digest) for one in found]
