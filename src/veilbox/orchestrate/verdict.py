"""What verify found -> what becomes of the output, by the policy. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from veilbox.core.control import Verified
from veilbox.core.errors import OutputQuarantined, OutputRefused, VerificationError
from veilbox.core.findings import Finding, FindingKind
from veilbox.core.policy import Verdict, Verification
from veilbox.orchestrate.report import Checked

# From harmless to grave: of several verdicts the gravest counts.
_GRAVITY = (Verdict.RELEASE, Verdict.QUARANTINE, Verdict.FAIL)
# Findings that an error message names.
_NAMED = 3


def judged(verified: Verified, rules: Verification) -> Checked:
    """The report's form of what verify found, with the policy's verdict."""
    verdicts = {_verdict(finding, rules) for finding in verified.findings}
    return Checked(
        verdict=max(verdicts, key=_GRAVITY.index, default=Verdict.RELEASE),
        frames=verified.frames,
        regions=verified.regions,
        searched=verified.searched,
        side=verified.side,
        findings=verified.findings,
        omitted=verified.omitted,
        metadata=verified.metadata,
    )


def _verdict(finding: Finding, rules: Verification) -> Verdict:
    if finding.kind in (FindingKind.STRUCTURE, FindingKind.CONTENT):
        return rules.structure
    return rules.residual


def withheld(checked: Checked, where: str, kept: Path | None) -> VerificationError:
    """The error of an output that is not released.

    Args:
        checked: What was found.
        where: The output's name.
        kept: Where it lies in quarantine; None if it was thrown away.
    """
    found = _told(checked.findings)
    if kept is None:
        return OutputRefused(
            "verify found what may not be in an output",
            where=where,
            actual=found,
            advice="Nothing was released; the report lists every finding",
        )
    return OutputQuarantined(
        "verify found what may not be released",
        where=where,
        actual=found,
        advice=f"The output is kept, encrypted, in {kept}; `veilbox decrypt` opens it for who has to look at it,"
        " `veilbox quarantine release` lets it out",
    )


def _told(findings: Iterable[Finding]) -> str:
    words = [
        f"{one.what} ({', '.join(part for part in (one.where, _frames(one)) if part)})"
        if one.where or one.first is not None
        else one.what
        for one in findings
    ]
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return "; ".join(words[:_NAMED]) + more


def _frames(finding: Finding) -> str:
    if finding.first is None:
        return ""
    if finding.first == finding.last:
        return f"frame {finding.first}"
    return f"frames {finding.first} to {finding.last}"
