"""A person's decision -> an output that verify held back gets a name after all.

It must be what verify looked at, by the digest that the log holds since then. The log knows of the decision before the
output has its name; only then the quarantine is cleared, so a kill in between leaves the output in both places and
nothing lost.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from veilbox.audit.entry import Quarantined
from veilbox.core.errors import LogError, UsageError
from veilbox.orchestrate.audit_reader import LogReader
from veilbox.orchestrate.audit_trail import AuditTrail
from veilbox.orchestrate.quarantined import QuarantinedOutputs
from veilbox.orchestrate.sealed_sources import open_sealed
from veilbox.orchestrate.staging import check_free

DECISION = "release-quarantine"


def release(
    store: Path,
    name: str,
    output: Path,
    *,
    reason: str,
    session: Callable[[], AbstractContextManager[AuditTrail]],
    replace: bool = False,
) -> str:
    """Release an output from quarantine.

    Args:
        store: The store's root.
        name: `JOB/ITEM`.
        output: Where it goes.
        reason: A word for the log.
        session: How to reach the log.
        replace: Whether a file that has this name already is replaced.

    Returns:
        The output's digest.

    Raises:
        UsageError: There is no such output, or OUT exists already.
        LogError: The log does not say that verify looked at this content.
        SourceMissing: The key is gone.
        SourceCorrupt: The file is not as it was encrypted.
        OutputError: The output cannot be written, or the quarantine not be cleared.
    """
    check_free(output, replace=replace)
    outputs = QuarantinedOutputs(store)
    found = outputs.named(name)
    looked_at = _looked_at(store / "audit", found.job, found.item)
    with session() as trail:

        def told(digest: str) -> None:
            if digest != looked_at:
                raise LogError(
                    "not what verify looked at",
                    where=name,
                    expected=looked_at,
                    actual=digest,
                    advice="Nothing was released; keep the file and the log as evidence",
                )
            trail.decided(DECISION, item=found.item, digest=digest, of=found.job, reason=reason)
            trail.flush()

        open_sealed(store, Path(found.path), output, replace=replace, told=told)
        outputs.leave(found)
        trail.deleted("quarantine", looked_at, item=found.item, of=found.job)
    return looked_at


def _looked_at(log: Path, job: str, item: int) -> str:
    """The digest of what verify looked at when it held the output back."""
    with LogReader.open(log) as reader:
        try:
            entries = [line.entry for line in reader.job(job)]
        except UsageError as error:
            raise _unknown(job, item) from error
    held = [entry for entry in entries if isinstance(entry, Quarantined) and entry.item == item]
    if not held:
        raise _unknown(job, item)
    return held[-1].digest


def _unknown(job: str, item: int) -> LogError:
    return LogError(
        "the log does not know of this output",
        where=f"{job}/{item}",
        expected="an entry of its quarantine",
        advice="`veilbox decrypt` opens it; veilbox does not vouch for it",
    )
